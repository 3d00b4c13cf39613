"""The spiking wide ResNet of SNN-RAT and its followers."""

import keras

from keras_dep.layers.residual import WeightedSum
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the three stages, and how much wider than 16, 32, 64 they are.
SIZES = {"wrn16_4": (2, 4)}
WIDTHS = (16, 32, 64)


def wide_resnet(name, input_shape, num_classes, normalization="merged", **options):
    """Spiking wide ResNet whose blocks normalise and fire before they convolve, without biases.

    A block adds its branch to its input, or to a 1 x 1 convolution of the fired input where the
    width changes, each times a learnt number that starts at one half. Statistics merged over time
    are the default here, as there. Their neurons are `neuron={"decay": 1.0, "reset": "hard"}`,
    their steps 8.

    Args:
        name: `"wrn16_4"`: 16 layers, four times as wide.
        input_shape: `(height, width, channels)`, or `(channels, height, width)` where Keras is
            configured to `channels_first`; made for 32 x 32.
        num_classes: number of classes, at least 2.
        normalization: as in `keras_dep.models.builder.NetworkBuilder`.
        **options: the other options there; dropout acts inside the blocks.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of SNN-RAT (Ding et al. 2022); Zagoruyko and Komodakis 2016.

    Example:

    >>> wide_resnet("wrn16_4", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    count, factor = SIZES[name]
    cells = NetworkBuilder(normalization=normalization, **options)
    inputs, x = cells.image(input_shape)
    x = cells.convolve(x, WIDTHS[0], use_bias=False)
    for stage, width in enumerate(WIDTHS):
        for block in range(count):
            x = _block(cells, x, factor * width, strides=2 if stage and not block else 1)
    x = cells.pool_all(cells.fire(x, dropout=False))
    return keras.Model(inputs, cells.logits(x, num_classes), name=name)


def _block(cells, x, width, strides):
    activated = cells.fire(x, dropout=False)
    if x.shape[cells.axis] != width:
        x = cells.convolve(activated, width, size=1, strides=strides, use_bias=False)
    branch = cells.fire(cells.convolve(activated, width, strides=strides, use_bias=False))
    return WeightedSum(name=cells.name("add"))([x, cells.convolve(branch, width, use_bias=False)])
