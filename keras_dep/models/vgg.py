"""Spiking VGG networks, as in the released code of the paper and of SNN-RAT."""

from collections.abc import Sequence

import keras

from keras_dep._internal.types import Tensor
from keras_dep.layers.pooling import AveragePooling2D
from keras_dep.layers.pooling import PooledTo
from keras_dep.models.builder import NetworkBuilder

# Numbers are output channels of 3x3 convolutions; "M" halves the map by average pooling.
STAGES = {
    "vgg5": (64, "M", 128, 128, "M"),
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M")
    + (256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
}
DEEP_HEADED_STAGES = {"vgg11_rat": (64, "M", 128, 256, "M", 512, 512, 512, "M", 512, 512)}
HEAD_SIZE = 7
DEEP_HEAD_WIDTH = 4096


def spiking_vgg(
    builder: NetworkBuilder, name: str, input_shape: Sequence[int], num_classes: int
) -> keras.Model:
    """Spiking VGG: convolution, normalisation, LIF and dropout per layer, one dense layer on top.

    The last maps are pooled to 7 x 7 for any input size (smaller ones are replicated). A map of odd
    size drops its last row and column at each halving; a map of size 1 is no longer halved.

    Args:
        builder: a new `NetworkBuilder`; it holds the other options.
        name: `"vgg5"`, `"vgg11"`, `"vgg13"` or `"vgg16"`, with 3, 8, 10 and 13 convolutions.
        input_shape: shape of one image; any size.
        num_classes: number of classes, at least 2.

    Returns:
        The network, as from `keras_dep.models.build`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134.

    Example:

    >>> spiking_vgg(NetworkBuilder(), "vgg5", (32, 32, 3), num_classes=10).count_params()
    287242
    """
    inputs, x = builder.image(input_shape)
    x = _convolutions(builder, x, STAGES[name])
    x = builder.flatten(PooledTo(HEAD_SIZE, name=builder.name("pool"))(x))
    return keras.Model(inputs, builder.logits(x, num_classes), name=name)


def deep_headed_vgg(
    builder: NetworkBuilder, name: str, input_shape: Sequence[int], num_classes: int
) -> keras.Model:
    """The spiking "VGG-11" of SNN-RAT and later papers: three dense layers on the unpooled maps.

    It differs from the paper's VGG-11 in where it halves the map and in the head. SNN-RAT uses
    statistics merged over time, neurons with `{"decay": 1.0, "reset": "hard"}` and 8 steps.

    Args:
        builder: a new `NetworkBuilder`; it holds the other options.
        name: `"vgg11_rat"`.
        input_shape: shape of one image, made for 32 x 32; the head grows with it.
        num_classes: number of classes, at least 2.

    Returns:
        The network, as from `keras_dep.models.build`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of SNN-RAT (Ding et al. 2022).

    Example:

    >>> deep_headed_vgg(NetworkBuilder(), "vgg11_rat", (8, 8, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    inputs, x = builder.image(input_shape)
    x = builder.flatten(_convolutions(builder, x, DEEP_HEADED_STAGES[name]))
    for _ in range(2):
        x = builder.drop(builder.spike(builder.dense(x, DEEP_HEAD_WIDTH)))
    return keras.Model(inputs, builder.logits(x, num_classes), name=name)


def _convolutions(builder: NetworkBuilder, x: Tensor, stages: Sequence[int | str]) -> Tensor:
    sides = slice(2, 4) if builder.axis == 1 else slice(1, 3)
    for stage in stages:
        if isinstance(stage, int):
            x = builder.fire(builder.convolve(x, stage))
        elif min(x.shape[sides]) > 1:
            x = AveragePooling2D(2, name=builder.name("pool"))(x)
    return x
