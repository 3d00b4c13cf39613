"""Spiking ResNets without normalisation, as in the released code of the paper for ImageNet."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from keras_dep._internal.types import Tensor
from keras_dep.layers.pooling import AveragePooling2D
from keras_dep.layers.residual import SkipInit
from keras_dep.layers.weight_standardization import ScaledStandardizedConv2D
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the four stages.
BLOCKS = {"nf_resnet18": (2, 2, 2, 2), "nf_resnet34": (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)
BRANCH_SCALE = 0.2
# Factors to unit variance: of spikes, from the released code; of ReLU on a normal variable.
SPIKE_GAIN = 2.74
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))


def nf_resnet(
    builder: NetworkBuilder, name: str, input_shape: Sequence[int], num_classes: int
) -> keras.Model:
    """Spiking ResNet of standardised convolutions whose blocks start as their shortcuts.

    A block with input `x` of expected variance `b^2` fires on `x / b`, scales the spikes to unit
    variance as `a`, and adds `0.2 g f(a)` to `x`, or to a 1 x 1 convolution of `a` where width or
    size change; `f` is `convolution -> LIF -> convolution`, `g` a learnt number that starts at 0.
    Dropout acts before the dense layer only. `normalization` has no effect.

    Args:
        builder: a new `NetworkBuilder`; it holds the other options.
        name: `"nf_resnet18"` or `"nf_resnet34"`.
        input_shape: shape of one image; the stem quarters the map and is made for 224 x 224.
        num_classes: number of classes, at least 2.

    Returns:
        The network, as from `keras_dep.models.build`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134 (ImageNet); Brock et al. 2021.

    Example:

    >>> nf_resnet(NetworkBuilder(), "nf_resnet18", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    inputs, x = builder.image(input_shape)
    x = _convolve(builder, x, WIDTHS[0], size=7, strides=2)
    x = AveragePooling2D(3, 2, name=builder.name("pool"))(builder.pad(x, 1))
    x, variance = builder.repeat(x), 1.0
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name])):
        for block in range(count):
            strides = 2 if stage and not block else 1
            x = _block(builder, x, width, strides, math.sqrt(variance))
            variance = (1.0 if strides > 1 else variance) + BRANCH_SCALE**2
    x = builder.drop(builder.pool_all(builder.spike(x)))
    return keras.Model(inputs, builder.logits(x, num_classes, initializer="zeros"), name=name)


def _block(
    builder: NetworkBuilder, x: Tensor, width: int, strides: int, deviation: float
) -> Tensor:
    activated = _fire(builder, _scale(builder, x, 1 / deviation))
    if strides > 1:
        x = _convolve(builder, activated, width, size=1, strides=strides)
    branch = _fire(builder, _convolve(builder, activated, width, strides=strides))
    branch = SkipInit(name=builder.name("skip"))(_convolve(builder, branch, width))
    return layers.Add(name=builder.name("add"))([x, _scale(builder, branch, BRANCH_SCALE)])


def _fire(builder: NetworkBuilder, x: Tensor) -> Tensor:
    return _scale(builder, builder.spike(x), SPIKE_GAIN if builder.spiking else RELU_GAIN)


def _scale(builder: NetworkBuilder, x: Tensor, factor: float) -> Tensor:
    return layers.Rescaling(factor, name=builder.name("scale"))(x)


def _convolve(
    builder: NetworkBuilder, x: Tensor, width: int, size: int = 3, strides: int = 1
) -> Tensor:
    return builder.convolve(x, width, size, strides, kind=ScaledStandardizedConv2D)
