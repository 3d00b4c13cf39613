"""Weight decay added to the gradient, as in torch's optimizers."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.optimizers.base import GradientTransform


@export
class CoupledWeightDecay(GradientTransform):
    """Adds `weight_decay * w` to the gradient of every trainable weight, as torch's optimizers do.

    Keras' own `weight_decay` is decoupled: it shrinks weights by `lr * wd` per step, outside the
    momentum. Added to the gradient, as in the paper's code, the same factor acts through the
    momentum: about ten times as strongly at a momentum of 0.9. Inside `DEP` the term is not
    projected: `DEP(CoupledWeightDecay(SGD(0.1, momentum=0.9), 5e-4))`.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        weight_decay: non-negative factor. It also acts on biases and normalisation, unless
            `exclude_from_weight_decay` names them before the optimizer is built.
        gradient_accumulation_steps: see `GradientTransform`; inside `DEP`, pass it to `DEP`.
        name: name of the optimizer.

    Raises:
        ValueError: a negative or non-finite factor, or what `GradientTransform` refuses.

    Example:

    >>> import keras
    >>> optimizer = CoupledWeightDecay(keras.optimizers.SGD(0.5), weight_decay=0.1)
    >>> weight = keras.Variable([1.0])
    >>> optimizer.apply([ops.zeros((1,))], [weight])
    >>> round(float(weight[0]), 4)
    0.95
    """

    # The wrapper's, in place of the inner optimizer's.
    weight_decay: float = 0.0

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        weight_decay: float,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        if not 0 <= weight_decay < math.inf:
            raise ValueError(
                f"weight_decay must be a non-negative number; received {weight_decay}."
            )
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.weight_decay = weight_decay

    def transform_gradient(self, gradient: Tensor, variable: keras.Variable) -> Tensor:
        if not keras_internals.decays(self, variable):
            return gradient
        # The inner optimizer divides by its loss scale, by which only the gradient was multiplied.
        factor = self.weight_decay * (self.loss_scale_factor or 1.0)
        return gradient + ops.cast(factor * variable, gradient.dtype)

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        keras.optimizers.Optimizer.exclude_from_weight_decay(self, var_list, var_names)
        super().exclude_from_weight_decay(var_list, var_names)

    def get_config(self) -> Record:
        return {**super().get_config(), "weight_decay": self.weight_decay}
