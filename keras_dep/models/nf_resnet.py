"""Spiking ResNets without normalisation, as in the released code of the paper for ImageNet."""

import math

import keras
from keras import layers

from keras_dep.layers.pooling import AveragePooling2D
from keras_dep.layers.residual import SkipInit
from keras_dep.layers.weight_standardization import ScaledStandardizedConv2D
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the four stages.
BLOCKS = {"nf_resnet18": (2, 2, 2, 2), "nf_resnet34": (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)
BRANCH_SCALE = 0.2
# What brings spikes of the source's networks, and the ReLU of a normal variable, to unit variance.
SPIKE_GAIN = 2.74
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))


def nf_resnet(name, input_shape, num_classes, **options):
    """Spiking ResNet of standardised convolutions whose blocks start as their shortcuts.

    A block with input `x` of expected variance `b^2` fires `x / b`, brings the spikes to unit
    variance as `a`, and adds `0.2 g f(a)` to `x`, or to a 1 x 1 convolution of `a` where width or
    size change; `f` is `convolution -> LIF -> convolution`, `g` a learnt number that starts at 0.

    Args:
        name: `"nf_resnet18"` or `"nf_resnet34"`.
        input_shape: `(height, width, channels)`, or `(channels, height, width)` where Keras is
            configured to `channels_first`; the stem, which quarters the map, is made for 224 x 224.
        num_classes: number of classes, at least 2.
        **options: `timesteps`, `neuron`, `encoder`, `normalization`, `dropout`, `spiking`, `mean`
            and `std`, as in `keras_dep.models.builder.NetworkBuilder`; dropout acts before the
            dense layer, and there is nothing to normalise.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134 (ImageNet); Brock et al. 2021.

    Example:

    >>> nf_resnet("nf_resnet18", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    cells = NetworkBuilder(**options)
    inputs, x = cells.image(input_shape)
    x = _convolve(cells, x, WIDTHS[0], size=7, strides=2)
    x = AveragePooling2D(3, 2, name=cells.name("pool"))(cells.pad(x, 1))
    x, variance = cells.repeat(x), 1.0
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name])):
        for block in range(count):
            strides = 2 if stage and not block else 1
            x = _block(cells, x, width, strides, math.sqrt(variance))
            variance = (1.0 if strides > 1 else variance) + BRANCH_SCALE**2
    x = cells.drop(cells.pool_all(cells.spike(x)))
    return keras.Model(inputs, cells.logits(x, num_classes, initializer="zeros"), name=name)


def _block(cells, x, width, strides, deviation):
    activated = _fire(cells, _scale(cells, x, 1 / deviation))
    if strides > 1:
        x = _convolve(cells, activated, width, size=1, strides=strides)
    branch = _fire(cells, _convolve(cells, activated, width, strides=strides))
    branch = SkipInit(name=cells.name("skip"))(_convolve(cells, branch, width))
    return layers.Add(name=cells.name("add"))([x, _scale(cells, branch, BRANCH_SCALE)])


def _fire(cells, x):
    return _scale(cells, cells.spike(x), SPIKE_GAIN if cells.spiking else RELU_GAIN)


def _scale(cells, x, factor):
    return layers.Rescaling(factor, name=cells.name("scale"))(x)


def _convolve(cells, x, width, **options):
    return cells.convolve(x, width, kind=ScaledStandardizedConv2D, **options)
