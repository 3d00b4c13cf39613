"""The spiking wide ResNet of SNN-RAT and later papers."""

from collections.abc import Sequence

import keras

from keras_dep._internal.types import Tensor
from keras_dep.layers.residual import WeightedSum
from keras_dep.models.builder import NetworkBuilder

# Blocks in each of the three stages, and how much wider than 16, 32, 64 they are.
SIZES = {"wrn16_4": (2, 4)}
WIDTHS = (16, 32, 64)


def wide_resnet(
    builder: NetworkBuilder, name: str, input_shape: Sequence[int], num_classes: int
) -> keras.Model:
    """Spiking wide ResNet whose blocks normalise and fire before they convolve, without biases.

    A block adds its branch to its input, or to a 1 x 1 convolution of the input's spikes where the
    width changes, each times a learnt number that starts at one half. SNN-RAT uses statistics
    merged over time, neurons with `{"decay": 1.0, "reset": "hard"}` and 8 steps. Dropout acts
    inside the blocks.

    Args:
        builder: a new `NetworkBuilder`; it holds the other options.
        name: `"wrn16_4"`: 16 layers, four times as wide.
        input_shape: shape of one image, made for 32 x 32.
        num_classes: number of classes, at least 2.

    Returns:
        The network, as from `keras_dep.models.build`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of SNN-RAT (Ding et al. 2022); Zagoruyko and Komodakis 2016.

    Example:

    >>> wide_resnet(NetworkBuilder(), "wrn16_4", (32, 32, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    count, factor = SIZES[name]
    inputs, x = builder.image(input_shape)
    x = builder.convolve(x, WIDTHS[0], use_bias=False)
    for stage, width in enumerate(WIDTHS):
        for block in range(count):
            x = _block(builder, x, factor * width, strides=2 if stage and not block else 1)
    x = builder.pool_all(builder.fire(x, dropout=False))
    return keras.Model(inputs, builder.logits(x, num_classes), name=name)


def _block(builder: NetworkBuilder, x: Tensor, width: int, strides: int) -> Tensor:
    activated = builder.fire(x, dropout=False)
    if x.shape[builder.axis] != width:
        x = builder.convolve(activated, width, size=1, strides=strides, use_bias=False)
    branch = builder.fire(builder.convolve(activated, width, strides=strides, use_bias=False))
    return WeightedSum(name=builder.name("add"))(
        [x, builder.convolve(branch, width, use_bias=False)]
    )
