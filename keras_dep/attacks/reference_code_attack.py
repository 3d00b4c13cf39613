"""The attack of the paper's released code, which differs from the one that the paper describes."""

import warnings
from collections.abc import Sequence
from typing import Any
from typing import cast

import keras
import numpy as np
from keras import ops

from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import registry
from keras_dep.attacks.base import Attack
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.attacks.stateful_replay import StatefulReplay
from keras_dep.models import inference

# Entries of a record that the wrapped attack does not have.
_ITS_OWN = ("crafted_by", "normalized_norm", "normalized_epsilon", "stale_state")


@export
class ReferenceCodeAttack(Attack):
    """An attack on the normalised image and one time step, clamped to the range of pixels.

    It differs from the attack that it wraps in four points. The radius is in units of the
    normalised image, about a fifth of its size in pixels. The result is clamped to [0, 1] in these
    units, which moves many pixels much further than the radius. The loss uses one time step. The
    membranes are not reset between the steps of the attack, nor before the outputs that the
    released code counts (`answers`). The images lie in no ball around the originals, so no
    evaluation counts this attack. `ReferenceCodeAttack(FGSM(epsilon=0))` is the clamp alone, a
    control.

    Args:
        attack: an `FGSM` or another gradient attack with one start, with the radius as the released
            code has it.
        stale_state: keep the membranes from step to step; `False` for a control.

    Raises:
        ValueError: no gradient attack, or one of several starts or samples; at the call, a model
            that does not normalise its pixels or does not repeat its image.

    Source: released code of arXiv 2505.11134.

    Example:

    >>> from keras_dep.attacks.fgsm import FGSM
    >>> body = [keras.Input((4,)), keras.layers.Normalization(mean=0.5, variance=0.04)]
    >>> model = keras.Sequential([*body, keras.layers.Dense(2)])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     attack = ReferenceCodeAttack(FGSM(epsilon=0))
    >>> attack(model, np.full((1, 4), 0.2, "float32"), np.zeros(1, "int32")).round(3).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """

    def __init__(self, attack: GradientAttack, stale_state: bool = True) -> None:
        warnings.warn(
            "ReferenceCodeAttack perturbs one time step of normalised, clamped images, as the "
            "paper's code does; its accuracies do not measure robustness.",
            stacklevel=2,
        )
        if not isinstance(attack, GradientAttack):
            raise ValueError(
                f"attack must be a gradient attack, as FGSM or PGD; received {attack!r}."
            )
        if attack.threat.restarts > 1 or attack.samples > 1:
            raise ValueError(
                "attack must have one start and one sample, as the released code's; received "
                f"restarts={attack.threat.restarts}, samples={attack.samples}."
            )
        super().__init__(attack.threat, seed=attack.seed, targeted=attack.targeted)
        self.attack = attack
        self.stale_state = stale_state
        self._behind: tuple[Any, Any] = (None, None)
        self._replays: dict[tuple[int, int], StatefulReplay] = {}

    def get_config(self) -> Record:
        return {
            **self.attack.get_config(),
            "attack": "ReferenceCodeAttack",
            "crafted_by": type(self.attack).__name__,
            "norm": None,
            "epsilon": None,
            "normalized_norm": self.threat.norm,
            "normalized_epsilon": self.threat.epsilon,
            "stale_state": self.stale_state,
        }

    @classmethod
    def from_config(cls, config: Record) -> Attack:
        inner = {name: value for name, value in config.items() if name not in _ITS_OWN}
        inner |= {name: config[f"normalized_{name}"] for name in ("norm", "epsilon")}
        attack = registry.from_config({**inner, "attack": config["crafted_by"]})
        return cls(cast(GradientAttack, attack), stale_state=config["stale_state"])

    def answers(self, model: keras.Model, x: ArrayLike, y: ArrayLike) -> Tensor:
        """Logits for the adversarial images, from the membranes that the attack leaves.

        Args:
            model: as in the call.
            x: as in the call.
            y: as in the call.

        Returns:
            Tensor `(batch, time, classes)`.
        """
        images, labels = self._checked(model, x, y, self.threat.bounds)
        with random_states_kept(model):
            found, seen = self._normalized(model, images, labels, self.seed)
            network = self._behind_normalization(model)
            steps = network.output_shape[1] if len(network.output_shape) == 3 else 1
            frames = [*seen, *[found] * steps]
            whole = self._replay(len(frames), steps)
            return inference.predict(whole, ops.stack(frames, axis=1))

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        mean, std = map(ops.convert_to_tensor, pixel_statistics(model))
        found, _ = self._normalized(model, images, labels, seed)
        return ops.clip(found * std + mean, *self.threat.bounds)

    def _normalized(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """The normalised adversarial images, and all inputs of the network during the search."""
        mean, std = map(ops.convert_to_tensor, pixel_statistics(model))
        network = self._behind_normalization(model)
        seen: list[Tensor] = []

        def look(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            frames = [*seen, x]
            if self.stale_state:
                seen.append(x)
            replay = self._replay(len(frames), 1)
            slope, outputs = self.attack._look(replay)(ops.stack(frames, axis=1), y)
            return slope[:, -1], outputs

        found = self.attack._search(network, look, (images - mean) / std, labels, seed)
        return found, seen

    def _behind_normalization(self, model: keras.Model) -> keras.Model:
        now = compilation.constants(model)
        if self._behind[0] != now:
            mean, std = pixel_statistics(model)
            inputs = keras.Input(model.input_shape[1:])
            self._behind = now, keras.Model(inputs, model(inputs * std + mean))
            self._replays = {}
        return self._behind[1]

    def _replay(self, steps: int, read: int) -> StatefulReplay:
        # One model for each number of steps: TensorFlow compiles a model once for all shapes.
        if (steps, read) not in self._replays:
            self._replays[steps, read] = StatefulReplay(self._behind[1], steps, read)
        return self._replays[steps, read]


def pixel_statistics(model: keras.Model) -> tuple[Array, Array]:
    """Mean and standard deviation of a model's normalisation of pixels.

    Args:
        model: a model with a `keras.layers.Normalization`.

    Returns:
        Two float32 arrays.

    Raises:
        ValueError: a model without this layer.
    """
    for layer in keras_internals.all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            values = (ops.convert_to_numpy(each) for each in (layer.mean, layer.variance))
            mean, variance = (np.asarray(value, "float32") for value in values)
            return mean, np.sqrt(variance)
    raise ValueError(
        f"model {model.name!r} has no Normalization layer; the released protocol needs one, as the "
        "models of keras_dep.models have."
    )
