"""Spiking pre-activation ResNets, as in the released code of the paper."""

from collections.abc import Sequence

import keras
from keras import layers

from keras_dep._internal.types import Tensor
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the four stages.
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)


def preactivation_resnet(
    builder: NetworkBuilder, name: str, input_shape: Sequence[int], num_classes: int
) -> keras.Model:
    """Spiking ResNet whose blocks normalise and fire before they convolve.

    A block normalises its input `x` and fires spikes `a`. It returns `a -> convolution ->
    normalisation -> LIF -> dropout -> convolution`, plus `a` itself, or a 1 x 1 convolution of `a`
    where width or size change: the shortcut carries spikes, not `x`. After the last block follow
    normalisation, LIF, the mean over the map, dropout and one dense layer.

    Args:
        builder: a new `NetworkBuilder`; it holds the other options.
        name: `"resnet18"` or `"resnet34"`.
        input_shape: shape of one image; the stem is made for small images such as 32 x 32.
        num_classes: number of classes, at least 2.

    Returns:
        The network, as from `keras_dep.models.build`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134 (`res18`, `res34`); He et al. 2016.

    Example:

    >>> preactivation_resnet(NetworkBuilder(), "resnet18", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    inputs, x = builder.image(input_shape)
    x = builder.convolve(x, WIDTHS[0], use_bias=False)
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name])):
        for block in range(count):
            x = _block(builder, x, width, strides=2 if stage and not block else 1)
    x = builder.pool_all(builder.fire(x, dropout=False))
    return keras.Model(inputs, builder.logits(builder.drop(x), num_classes), name=name)


def _block(builder: NetworkBuilder, x: Tensor, width: int, strides: int) -> Tensor:
    shortcut = activated = builder.fire(x, dropout=False)
    if strides > 1 or activated.shape[builder.axis] != width:
        shortcut = builder.convolve(activated, width, size=1, strides=strides)
    x = builder.fire(builder.convolve(activated, width, strides=strides))
    return layers.Add(name=builder.name("add"))([builder.convolve(x, width), shortcut])
