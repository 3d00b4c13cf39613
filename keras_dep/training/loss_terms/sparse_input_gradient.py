"""SR: a penalty on the size of the input gradient, estimated by a finite difference."""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

from keras_dep import losses
from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.training import in_step
from keras_dep.training.loss_terms.base import LossTerm
from keras_dep.training.loss_terms.base import check_strength


@export
@dataclasses.dataclass(frozen=True)
class SparseInputGradient(LossTerm):
    """Penalty on the squared l1 norm of the input gradient (SR), by one finite difference.

    With mean logits `z` and the label `y`,

        f(x) = exp(z_y) / (exp(z_y) + exp(z_j)),   j = argmax_{k != y} z_k(x)
        d    = sign(grad_x f(x))                    a constant of the step
        term = strength * mean_b ((f(x + h d) - f(x)) / h)^2

    `j` is that of the image itself in both terms, and both carry gradients. `x + h d` is not
    clipped. Both passes run in training mode, so moving averages see two batches in a step. It
    costs one input gradient and one pass forward and back.

    Args:
        strength: weight of the penalty, at least 0; 0 leaves it out.
        step_size: `h`, in pixel units, positive.

    Raises:
        ValueError: an argument outside its limits.

    Source: Liu et al., ICML 2024 (arXiv 2405.20355); formulas of the released code, where `h` is
    0.01. Open: the code leaves `strength` at 0; 0.008 for CIFAR-10 (the default here) and 0.002 for
    CIFAR-100 come from memory of the paper. The text speaks of the softmax over all classes.
    `d` is taken of `z_y - z_j`, whose gradient has the same signs and does not vanish in rounding
    where `f` is close to 0 or 1. Through spikes the difference is 0 where no spike changes within
    `h`.

    Example:

    >>> from keras_dep.training import DefendedTraining
    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model = DefendedTraining(network, loss_terms=[SparseInputGradient(strength=0.1)])
    >>> model.compile("sgd", losses.MeanLogitCrossentropy())
    >>> sorted(model.train_on_batch(ops.ones((2, 4)), ops.array([0, 1]), return_dict=True))
    ['loss', 'sparse_input_gradient']
    """

    strength: float = 0.008
    step_size: float = 0.01

    name = "sparse_input_gradient"

    def __post_init__(self):
        check_strength("strength", self.strength)
        if not 0 < self.step_size < math.inf:
            raise ValueError(
                f"step_size must be positive and finite; received {self.step_size}; 0.01 is usual."
            )

    def prepare(
        self,
        network: keras.Model,
        images: Tensor,
        labels: Tensor,
        gradient: in_step.StepGradient,
    ) -> Tensor:
        """The sign of the input gradient."""
        slope, _ = in_step.input_gradient(_margin, network, images, labels, gradient)
        return ops.sign(slope)

    def __call__(
        self, network: keras.Model, images: Tensor, labels: Tensor, outputs: Tensor, prepared: Any
    ) -> Tensor:
        """The term as a scalar; see `LossTerm`."""
        here = _float32_logits(outputs)
        there = _float32_logits(network(images + self.step_size * prepared, training=True))
        rival = _rival(labels, here)
        change = ops.sigmoid(_lead(labels, rival, there)) - ops.sigmoid(_lead(labels, rival, here))
        return self.strength * ops.mean(ops.square(change / self.step_size))


def _margin(labels, outputs):
    logits = _float32_logits(outputs)
    return _lead(labels, _rival(labels, logits), logits)


def _float32_logits(outputs):
    logits = losses.mean_logits(outputs)
    return logits if logits.dtype == "float64" else ops.cast(logits, "float32")


def _rival(labels, logits):
    """The likeliest of the other classes, int32 `(batch,)`."""
    logits = ops.stop_gradient(logits)
    own = ops.cast(ops.one_hot(labels, logits.shape[-1]), "bool")
    return ops.argmax(ops.where(own, -math.inf * ops.ones_like(logits), logits), axis=-1)


def _lead(labels, rival, logits):
    classes = logits.shape[-1]
    sides = ops.one_hot(labels, classes) - ops.one_hot(rival, classes)
    return ops.sum(ops.cast(sides, logits.dtype) * logits, axis=-1)
