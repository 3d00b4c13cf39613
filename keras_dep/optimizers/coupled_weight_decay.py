"""Weight decay through the gradient, as torch's optimizers have it."""

import math

import keras
from keras import ops

from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep.optimizers.base import GradientTransform


@export
class CoupledWeightDecay(GradientTransform):
    """Adds `weight_decay * w` to the gradient of every trainable weight, as torch's optimizers do.

    Keras' own `weight_decay` is decoupled: it shrinks weights by `lr * wd` a step, outside the
    momentum. Added to the gradient, as in the paper's code, the same number acts through the
    momentum, with 0.9 about ten times as strongly. Inside `DEP` the term is not projected:
    `DEP(CoupledWeightDecay(SGD(0.1, momentum=0.9), 5e-4))`.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        weight_decay: non-negative factor; it acts on biases and normalisation too, unless
            `exclude_from_weight_decay` names them before the optimizer is built.
        gradient_accumulation_steps: see `GradientTransform`; inside `DEP`, set it there.
        name: optional name.

    Raises:
        ValueError: a negative or non-finite factor, or no Keras optimizer.

    Example:

    >>> import keras
    >>> optimizer = CoupledWeightDecay(keras.optimizers.SGD(0.5), weight_decay=0.1)
    >>> weight = keras.Variable([1.0])
    >>> optimizer.apply([ops.zeros((1,))], [weight])
    >>> round(float(weight[0]), 4)
    0.95
    """

    # Its own, not that of the inner optimizer.
    weight_decay = None

    def __init__(self, inner_optimizer, weight_decay, gradient_accumulation_steps=None, name=None):
        if not 0 <= weight_decay < math.inf:
            raise ValueError(
                f"weight_decay must be a non-negative number; received {weight_decay}."
            )
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.weight_decay = weight_decay

    def transform(self, gradients, variables):
        # The inner optimizer divides by its loss scale, which the decay has not been through.
        factor = self.weight_decay * (self.loss_scale_factor or 1.0)
        return [
            gradient + ops.cast(factor * variable, gradient.dtype)
            if gradient is not None and keras_internals.decays(self, variable)
            else gradient
            for gradient, variable in zip(gradients, variables)
        ]

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        keras.optimizers.Optimizer.exclude_from_weight_decay(self, var_list, var_names)
        super().exclude_from_weight_decay(var_list, var_names)

    def get_config(self):
        return {**super().get_config(), "weight_decay": self.weight_decay}
