"""Spike retiming: events keep their pixel and size, and only change their time step."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.retiming import Lines
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference

BUDGETS = ("jitter", "delay", "count")
# Steps of the source, by budget.
STEPS = {"jitter": 20, "delay": 40, "count": 40}


@export
class SpikeRetiming(GradientAttack):
    """Moves events in time, within a budget; their number, pixels and sizes stay.

    An event is a cell of the frames that is not zero, with its value; no two of them share a cell.
    Each step passes frames with moved events through the network, and shifts the probabilities of
    each event's time steps by the sign of the gradient of the loss, less penalties for full cells
    and for the budget. The moves of the next frames are taken in the order of their probabilities,
    where the cell is free and the budget allows. Per recording the result is the first frames that
    succeed, else those closest to it.

    For networks of frames, `keras_dep.models.build(..., encoder="events")`. The change of a pixel
    is not bounded.

    Args:
        budget: what is limited: `"jitter"`, the time steps by which each event moves (in the
            source B_infinity); `"delay"`, their sum over a recording (B_1); `"count"`, the number
            of moved events of a recording (B_0).
        amount: the limit, at least 0.
        steps: gradient steps, at least 1; default: 20 for `"jitter"`, else 40, as in the source.
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: not used: nothing is random.
        targeted: labels name the class to reach instead of the class to leave.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.

    Raises:
        ValueError: an argument outside its limits; at the call, images that are no frames.

    Source: Yu et al., ICLR 2026, arXiv 2602.03284 (PIL-PGD), with its temperature, step, bound of
    the logits and weights of the penalties. Ours are: an event may also stay, which is the first
    guess; ties go to the shorter move; moves end with the first that would exceed the budget; and
    the best frames of all steps are kept.

    Example:

    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((3, 2, 2, 2)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(2))
    >>> frames = np.zeros((1, 3, 2, 2, 2), "float32")
    >>> frames[0, 0, 1, 1, 0] = 1.0
    >>> moved = SpikeRetiming(amount=1)(model, frames, np.zeros(1, "int32"))
    >>> moved.sum(axis=1)[0, 1, 1, 0], moved[0, 2].any()
    (np.float32(1.0), np.False_)
    """

    TEMPERATURE = 1.0
    STEP = 1.0
    LARGEST_LOGIT = 10.0
    CAPACITY_WEIGHT = 20.0
    BUDGET_WEIGHT = 10.0

    def __init__(
        self,
        *,
        budget: str = "jitter",
        amount: int = 1,
        steps: int | None = None,
        loss: Loss = "ce",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        surrogate: str | None = None,
        width: float | None = None,
        estimator: str | Estimator | None = None,
        samples: int = 1,
    ) -> None:
        self.budget = validation.one_of("budget", budget, BUDGETS)
        self.amount = validation.whole_number("amount", amount, 0)
        super().__init__(
            Threat(epsilon=1.0, steps=STEPS[budget] if steps is None else steps),
            loss=loss,
            seed=seed,
            targeted=targeted,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )

    def get_config(self) -> Record:
        return {**super().get_config(), "budget": self.budget, "amount": self.amount}

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        if len(images.shape) != 5:
            raise ValueError(
                "SpikeRetiming needs frames (batch, T, height, width, channels); received shape "
                f"{tuple(images.shape)}; attack a network with encoder='events'."
            )
        return super()._craft(model, images, labels, seed)

    def _search(
        self,
        model: keras.Model,
        look: object,
        images: Tensor,
        labels: Tensor,
        seed: int | Sequence[int],
    ) -> Tensor:
        del seed
        clean = ops.convert_to_numpy(images)
        recordings = [Lines(each, self.budget, self.amount) for each in clean]
        logits = [lines.no_preference() for lines in recordings]
        here = best = clean
        best_success: Array | None = None
        for _ in range(self.threat.steps):
            slope, outputs = look(ops.convert_to_tensor(here), labels)  # type: ignore[operator]
            best, best_success = self._better(labels, outputs, here, best, best_success)
            slope = ops.convert_to_numpy(slope)
            moved = []
            for index, lines in enumerate(recordings):
                rise = lines.gradient(
                    logits[index] / self.TEMPERATURE,
                    slope[index],
                    self.CAPACITY_WEIGHT,
                    self.BUDGET_WEIGHT,
                )
                logits[index] = np.clip(
                    logits[index] + self.STEP * np.sign(rise),
                    -self.LARGEST_LOGIT,
                    self.LARGEST_LOGIT,
                )
                moved.append(lines.moved(logits[index]))
            here = np.stack(moved)
        outputs = ops.convert_to_tensor(inference.predict(model, here))
        best, _ = self._better(labels, outputs, here, best, best_success)
        return ops.convert_to_tensor(best)

    def _better(
        self,
        labels: Tensor,
        outputs: Tensor,
        here: Array,
        best: Array,
        best_success: Array | None,
    ) -> tuple[Array, Array]:
        """Per recording, the first frames that succeed, else those closest to it."""
        success = ops.convert_to_numpy(self.success(labels, outputs))
        if best_success is None:
            return here, success
        better = (best_success <= 0) & (success > best_success)
        chosen = better.reshape(-1, *[1] * (here.ndim - 1))
        return np.where(chosen, here, best), np.where(better, success, best_success)
