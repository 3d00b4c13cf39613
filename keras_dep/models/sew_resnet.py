"""The spike-element-wise ResNet."""

from collections.abc import Sequence

import keras
from keras import layers

from keras_dep._internal.types import Tensor
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the four stages.
BLOCKS = {"sew_resnet18": (2, 2, 2, 2)}
WIDTHS = (64, 128, 256, 512)


def sew_resnet(
    builder: NetworkBuilder, name: str, input_shape: Sequence[int], num_classes: int
) -> keras.Model:
    """Spiking ResNet whose blocks add spikes to spikes.

    A block fires after each of its two convolutions and adds the spikes of the second to its input,
    or to the spikes of a 1 x 1 convolution where width or size change. Sums are counts, not 0 or 1.
    Dropout acts before the dense layer only.

    Args:
        builder: a new `NetworkBuilder`; it holds the other options.
        name: `"sew_resnet18"`.
        input_shape: shape of one image; the stem quarters the map and is made for 224 x 224.
        num_classes: number of classes, at least 2.

    Returns:
        The network, as from `keras_dep.models.build`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Fang et al. 2021 (SEW with ADD).

    Example:

    >>> sew_resnet(NetworkBuilder(), "sew_resnet18", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    inputs, x = builder.image(input_shape)
    x = _fire(builder, x, WIDTHS[0], size=7, strides=2)
    # Spikes are not negative, so padding by zeros never changes a maximum.
    x = layers.MaxPooling2D(3, 2, name=builder.name("pool"))(builder.pad(x, 1))
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name])):
        for block in range(count):
            x = _block(builder, x, width, strides=2 if stage and not block else 1)
    x = builder.drop(builder.pool_all(x))
    return keras.Model(inputs, builder.logits(x, num_classes), name=name)


def _block(builder: NetworkBuilder, x: Tensor, width: int, strides: int) -> Tensor:
    branch = _fire(builder, _fire(builder, x, width, strides=strides), width)
    if strides > 1:
        x = _fire(builder, x, width, size=1, strides=strides)
    return layers.Add(name=builder.name("add"))([branch, x])


def _fire(
    builder: NetworkBuilder, x: Tensor, width: int, size: int = 3, strides: int = 1
) -> Tensor:
    x = builder.convolve(x, width, size, strides, use_bias=False)
    return builder.fire(x, dropout=False)
