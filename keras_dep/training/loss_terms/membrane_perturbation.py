"""DLIF's loss: training on clean and adversarial images at once, and a stable last membrane."""

import contextlib
import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep import losses
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import FGSM
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.layers import overrides
from keras_dep.layers import time_axis
from keras_dep.training import in_step
from keras_dep.training.loss_terms.base import LossTerm
from keras_dep.training.loss_terms.base import check_strength


@export
@dataclasses.dataclass(frozen=True)
class MembranePerturbation(LossTerm):
    """Mean square of the last membrane's perturbation, and a mix of clean and adversarial loss.

    With input currents `I_t` of the last spiking layer, ahead of its charge, and its decay `k`,

        Y_t  = k Y_{t-1} + (stop_gradient(I_t(x)) - I_t(x_adv)),   Y_0 = 0
        loss = kappa CE(z(x)) + (1 - kappa) CE(z(x_adv)) + rho mean(Y_t^2)

    over steps, samples and neurons, with mean logits `z`. The term adds what this has beyond
    `CE(z(x))`, so compile the model with `keras_dep.MeanLogitCrossentropy()`. The images `x_adv`
    are crafted in inference mode, from the image itself. Both are passed in training mode: moving
    averages see the clean batch and then the adversarial one. The pass that gives `I_t(x)` draws as
    the adversarial one does, and what it updates is forgotten.

    Args:
        rho: weight of the perturbation, at least 0.
        kappa: share of the clean loss, in [0, 1]. With `rho` 0 and `kappa` 1 the term is left out.
        attack: a gradient attack of `keras_dep.attacks` that searches once and starts from the
            image; default: `FGSM(epsilon=4 / 255)`.

    Raises:
        ValueError: an argument outside its limits, an attack that cannot run inside a step or that
            draws its start; in `DefendedTraining`, a network whose last spiking layer does not
            derive from `keras_dep.LIF`, or that the attack does not suit.

    Source: Ding et al., "Robust Stable Spiking Neural Networks", ICML 2024 (arXiv 2405.20694), and
    its released code: `rho` 1, `kappa` 0.5, FGSM 4/255. The neuron with an input gain per step that
    the paper trains with it is a layer of its own. The released adversary adds noise of deviation
    0.001 ahead of its step and does not project on the ball afterwards; both are left out here.
    Open: `rho` of each published table.

    Example:

    >>> from keras_dep import DirectEncoding, LIF, UnfoldTime
    >>> from keras_dep.training import DefendedTraining
    >>> spiking = [DirectEncoding(2), keras.layers.Dense(5), LIF(2), keras.layers.Dense(3)]
    >>> network = keras.Sequential([keras.Input((4,)), *spiking, UnfoldTime(2)])
    >>> model = DefendedTraining(network, loss_terms=[MembranePerturbation()])
    >>> model.compile("sgd", losses.MeanLogitCrossentropy())
    >>> sorted(model.train_on_batch(ops.ones((2, 4)), ops.array([0, 1]), return_dict=True))
    ['loss', 'membrane_perturbation']
    """

    rho: float = 1.0
    kappa: float = 0.5
    attack: GradientAttack = dataclasses.field(default_factory=lambda: FGSM(epsilon=4 / 255))

    name = "membrane_perturbation"

    def __post_init__(self):
        check_strength("rho", self.rho)
        if not 0 <= self.kappa <= 1:
            raise ValueError(
                f"kappa must lie in [0, 1]; received {self.kappa}; 1 takes the clean loss alone."
            )
        in_step.check_attack(self.attack)
        if self.attack.offset(np.zeros((1, 1), "float32"), 0) is not None:
            raise ValueError(
                "attack must start from the image, as the step draws nothing for it; received "
                f"{type(self.attack).__name__} with a random start; set random_start=False."
            )

    @property
    def active(self) -> bool:
        """Whether the term changes the loss."""
        return self.rho != 0 or self.kappa != 1

    def check(self, network: keras.Model) -> None:
        """Raises `ValueError` for a network that does not spike, or that the attack cannot take."""
        in_step.check_attack(self.attack, network)
        overrides.layers_with_estimator(network)

    def prepare(
        self,
        network: keras.Model,
        images: Tensor,
        labels: Tensor,
        gradient: in_step.StepGradient,
    ) -> Tensor:
        """The adversarial images."""
        return in_step.crafted(self.attack, network, images, labels, gradient)

    def __call__(
        self, network: keras.Model, images: Tensor, labels: Tensor, outputs: Tensor, prepared: Any
    ) -> Tensor:
        """The term as a scalar; see `LossTerm`."""
        layer = overrides.spiking_layers(network)[-1]
        perturbation = 0.0
        if self.rho:
            with _backend.unchanged(network), _recorded(layer) as clean:
                network(images, training=True)
        with _recorded(layer) as adversarial:
            adversarial_outputs = network(prepared, training=True)
        if self.rho:
            perturbation = _mean_square(layer, ops.stop_gradient(clean[-1]), adversarial[-1])
        losses_of_both = [_cross_entropy(labels, each) for each in (outputs, adversarial_outputs)]
        mixed = (1 - self.kappa) * (losses_of_both[1] - losses_of_both[0])
        return mixed + self.rho * perturbation

    def get_config(self) -> Record:
        """The arguments as a dictionary that JSON keeps."""
        attack = keras.saving.serialize_keras_object(self.attack)
        return {"rho": self.rho, "kappa": self.kappa, "attack": attack}

    @classmethod
    def from_config(cls, config: Record) -> "MembranePerturbation":
        """The term that `get_config` describes."""
        attack = keras.saving.deserialize_keras_object(config["attack"])
        return cls(**{**config, "attack": attack})


@contextlib.contextmanager
def _recorded(layer):
    """A list, which gets the currents `(T, batch, ...)` of each call of a layer in the block."""
    found: list[Tensor] = []
    ordinary = layer.estimator

    def fire(layer, currents):
        found.append(currents)
        with overrides.attributes([layer], estimator=ordinary):
            return time_axis.unfold(layer.call(time_axis.fold(currents)), layer.timesteps)

    with overrides.attributes([layer], estimator=fire):
        yield found


def _mean_square(layer, clean, adversarial):
    decay, _ = layer.decay_and_threshold(clean.dtype)
    membrane, total = 0.0, 0.0
    for difference in ops.unstack(clean - adversarial):
        membrane = decay * membrane + difference
        total = total + ops.mean(ops.square(membrane))
    return total / layer.timesteps


def _cross_entropy(labels, outputs):
    logits = losses.mean_logits(outputs)
    logits = logits if logits.dtype == "float64" else ops.cast(logits, "float32")
    return ops.mean(losses.cross_entropy(labels, logits))
