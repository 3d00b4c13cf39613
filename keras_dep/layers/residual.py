"""Learnt weights of the branches of residual networks."""

from collections.abc import Sequence

import keras

from keras_dep._internal.export import export
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor


@export
class SkipInit(keras.layers.Layer):
    """Multiplies its input by one learnt number that starts at 0.

    At the end of a block's branch it makes the initial block equal to its shortcut.

    Args:
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Source: De and Smith 2020.

    Example:

    >>> float(SkipInit()(keras.ops.ones((1, 1)))[0, 0])
    0.0
    """

    def build(self, input_shape: Shape) -> None:
        self.gain = self.add_weight(shape=(), initializer="zeros", name="gain")
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * self.gain

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)


@export
class WeightedSum(keras.layers.Layer):
    """Weighted sum of its inputs; each learnt weight starts at one over their number.

    Args:
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Source: released code of SNN-RAT (Ding et al. 2022).

    Example:

    >>> one, other = keras.ops.ones((1, 1)), 3 * keras.ops.ones((1, 1))
    >>> float(WeightedSum()([one, other])[0, 0])
    2.0
    """

    def build(self, input_shape: Sequence[Shape]) -> None:
        count = len(input_shape)
        start = keras.initializers.Constant(1 / count)
        self.weight = self.add_weight(shape=(count,), initializer=start, name="weight")
        self.built = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return sum(self.weight[place] * branch for place, branch in enumerate(inputs))

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(input_shape[0])
