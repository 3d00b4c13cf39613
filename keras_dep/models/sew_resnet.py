"""The spike-element-wise ResNet."""

import keras
from keras import layers

from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the four stages.
BLOCKS = {"sew_resnet18": (2, 2, 2, 2)}
WIDTHS = (64, 128, 256, 512)


def sew_resnet(name, input_shape, num_classes, **options):
    """Spiking ResNet whose blocks add spikes to spikes.

    A block fires behind each of its two convolutions and adds the second one's spikes to its input,
    or to those of a 1 x 1 convolution where width or size change. Sums are counts, not 0 or 1.

    Args:
        name: `"sew_resnet18"`.
        input_shape: `(height, width, channels)`, or `(channels, height, width)` where Keras is
            configured to `channels_first`; the stem, which quarters the map, is made for 224 x 224.
        num_classes: number of classes, at least 2.
        **options: `timesteps`, `neuron`, `encoder`, `normalization`, `dropout`, `spiking`, `mean`
            and `std`, as in `keras_dep.models.builder.NetworkBuilder`; dropout acts before the
            dense layer.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Fang et al. 2021 (SEW with ADD).

    Example:

    >>> sew_resnet("sew_resnet18", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    cells = NetworkBuilder(**options)
    inputs, x = cells.image(input_shape)
    x = _fire(cells, x, WIDTHS[0], size=7, strides=2)
    # Spikes are not negative, so that zeros beside the map never are the greatest.
    x = layers.MaxPooling2D(3, 2, name=cells.name("pool"))(cells.pad(x, 1))
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name])):
        for block in range(count):
            x = _block(cells, x, width, strides=2 if stage and not block else 1)
    x = cells.drop(cells.pool_all(x))
    return keras.Model(inputs, cells.logits(x, num_classes), name=name)


def _block(cells, x, width, strides):
    branch = _fire(cells, _fire(cells, x, width, strides=strides), width)
    if strides > 1:
        x = _fire(cells, x, width, size=1, strides=strides)
    return layers.Add(name=cells.name("add"))([branch, x])


def _fire(cells, x, width, **options):
    return cells.fire(cells.convolve(x, width, use_bias=False, **options), dropout=False)
