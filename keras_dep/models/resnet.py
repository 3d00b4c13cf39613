"""Spiking pre-activation ResNets, as in the released code of the paper."""

import keras
from keras import layers

from keras_dep._internal import validation
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the four stages.
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)


def preactivation_resnet(name, input_shape, num_classes, **options):
    """Spiking ResNet whose blocks normalise and fire before they convolve.

    A block with input `x` is, with `a` for `x` normalised and fired, `a -> convolution ->
    normalisation -> LIF -> dropout -> convolution`, plus `a` itself, or a 1 x 1 convolution of `a`
    where width or size change: the shortcut carries spikes, not `x`. Behind the last block stand
    normalisation, LIF, the mean over the map, dropout and one dense layer.

    Args:
        name: `"resnet18"` or `"resnet34"`.
        input_shape: `(height, width, channels)`, or `(channels, height, width)` where Keras is
            configured to `channels_first`; the stem is made for small images such as 32 x 32.
        num_classes: number of classes, at least 2.
        **options: `timesteps`, `neuron`, `encoder`, `normalization`, `dropout`, `spiking`, `mean`
            and `std`, as in `keras_dep.models.builder.NetworkBuilder`; dropout acts inside the
            blocks and before the dense layer.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134 (`res18`, `res34`); He et al. 2016.

    Example:

    >>> preactivation_resnet("resnet18", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    validation.one_of("name", name, BLOCKS)
    cells = NetworkBuilder(**options)
    inputs, x = cells.image(input_shape)
    x = cells.convolve(x, WIDTHS[0], use_bias=False)
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name])):
        for block in range(count):
            x = _block(cells, x, width, strides=2 if stage and not block else 1)
    x = cells.pool_all(cells.fire(x, dropout=False))
    return keras.Model(inputs, cells.logits(cells.drop(x), num_classes), name=name)


def _block(cells, x, width, strides):
    shortcut = activated = cells.fire(x, dropout=False)
    if strides > 1 or activated.shape[cells.axis] != width:
        shortcut = cells.convolve(activated, width, size=1, strides=strides)
    x = cells.fire(cells.convolve(activated, width, strides=strides))
    return layers.Add(name=cells.name("add"))([cells.convolve(x, width), shortcut])
