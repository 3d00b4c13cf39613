"""Several updates per batch, each on images that the gradient of the update before perturbs."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.training import periods

# From what the network is called with to its outputs and the gradient in the images.
Update = Callable[[Record], tuple[Any, Tensor]]


class Replay(abc.ABC):
    """Base class of several updates per batch, for `keras_dep.training.DefendedTraining`.

    An offset `d` of the images starts at 0. Each update trains on `clip(x + d, 0, 1)`, and the
    gradient `g` in these images, of the same backward pass, moves the offset:

        d <- clip(d + step sign(g), -epsilon, epsilon)

    The last update of a batch is that of Keras, whose loss and metrics are logged.

    Attributes:
        epsilon: radius of the offset, in pixel units.
        step: its step; `None` takes `epsilon`.
        batch_size: the images of the largest batch where the offset outlasts a batch, or `None`.
    """

    epsilon: float
    step: float | None
    batch_size: int | None = None

    @property
    @abc.abstractmethod
    def active(self) -> bool:
        """Whether it changes a step."""

    @abc.abstractmethod
    def check(self, network: keras.Model) -> None:
        """Raises `ValueError` for a network that cannot be trained so."""

    @abc.abstractmethod
    def ahead(self, images: Tensor, offset: Tensor, update: Update) -> tuple[Record, Tensor]:
        """Takes all updates but the last.

        Args:
            images: tensor `(batch, ...)`.
            offset: where the offset starts.
            update: a function of what the network is called with.

        Returns:
            What the network is called with in the last update, and the offset there.
        """

    def outputs(self, network: keras.Model, inputs: Record, training: bool | None) -> Any:
        """Outputs of the network for inputs that `ahead` made with an entry `"carried"`.

        Args:
            network: a network that `check` lets pass.
            inputs: the inputs.
            training: as in a call.
        """
        return network(inputs["image"], training=training)

    def shown(self, images: Tensor, offset: Tensor) -> Tensor:
        """The perturbed images, in [0, 1]."""
        return ops.clip(images + offset, 0.0, 1.0)

    def moved(self, offset: Tensor, gradient: Tensor | None) -> Tensor:
        """The offset after an update; it stays where the gradient is not finite.

        Args:
            offset: tensor like the images.
            gradient: that of the loss in the perturbed images, or `None` for zero.
        """
        if gradient is None:
            return offset
        sign = ops.where(ops.isfinite(gradient), ops.sign(gradient), ops.zeros_like(gradient))
        step = self.epsilon if self.step is None else self.step
        moved = ops.clip(offset + ops.cast(step * sign, offset.dtype), -self.epsilon, self.epsilon)
        return ops.stop_gradient(moved)

    def get_config(self) -> Record:
        """The arguments as a dictionary that JSON keeps."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # Subclasses are dataclasses.

    @classmethod
    def from_config(cls, config: Record) -> "Replay":
        """The object that `get_config` describes."""
        return cls(**config)


@export
@dataclasses.dataclass(frozen=True)
class CraftedNoise(Replay):
    """Training with crafted input noise (HIRE): an update after each of several periods of steps.

    The `T` steps of a batch are split into equal periods. Each runs from the membranes that the
    period before left, without gradient into it, on images perturbed by the gradient of the periods
    before. The loss is the compiled one on the logits of all steps so far, those of earlier periods
    without gradient. Each of the `T` steps is computed once; beyond plain training, a batch costs
    `periods - 1` steps of the optimizer and passes of the layers ahead of the encoder. Masks of
    `keras_dep.layers.TimeSharedDropout` are the same in all periods.

    Args:
        periods: number of periods, which divides `T`; 1 is plain training.
        epsilon: radius of the noise, in pixel units, not negative.
        step: its step after each period, positive; default: `epsilon`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Kundu, Pedram, Beerel, "HIRE-SNN", ICCV 2021 (arXiv 2110.11417), Fig. 6, with `T` 4 and
    2 periods. Its training code is not released. Open: both radii and the number of periods per
    data set; the defaults are ours. Its loss takes the accumulated potential of the output, the
    compiled one here usually the mean over the steps so far. The gradient in the image is that of
    the backward pass, at weights ahead of the update; the figure's caption names updated weights,
    which would take another pass. Here layers ahead of the encoder run once per period.

    Example:

    >>> from keras_dep import DirectEncoding, LIF, MeanLogitCrossentropy, UnfoldTime
    >>> network = keras.Sequential(
    ...     [
    ...         keras.Input((4,)),
    ...         DirectEncoding(4),
    ...         keras.layers.Dense(3),
    ...         LIF(4),
    ...         keras.layers.Dense(2),
    ...         UnfoldTime(4),
    ...     ]
    ... )
    >>> from keras_dep.training import DefendedTraining
    >>> model = DefendedTraining(network, replay=CraftedNoise(periods=2))
    >>> model.compile("sgd", MeanLogitCrossentropy())
    >>> _ = model.train_on_batch(ops.ones((3, 4)), ops.array([0, 1, 0]))
    >>> int(model.optimizer.iterations)
    2
    """

    periods: int = 2
    epsilon: float = 8 / 255
    step: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "periods", validation.whole_number("periods", self.periods))
        _check_radius(self)

    @property
    def active(self) -> bool:
        """Whether it changes a step."""
        return self.periods > 1

    def check(self, network: keras.Model) -> None:
        """Raises `ValueError` for a network that cannot run in periods."""
        periods.check_periods(network, self.periods)

    def ahead(self, images: Tensor, offset: Tensor, update: Update) -> tuple[Record, Tensor]:
        """As in `Replay`, with an update per period."""
        carried: Record = {}
        for _ in range(self.periods - 1):
            carried, slope = update({"image": self.shown(images, offset), "carried": carried})
            offset = self.moved(offset, slope)
        return {"image": self.shown(images, offset), "carried": carried}, offset

    def outputs(self, network: keras.Model, inputs: Record, training: bool | None) -> Any:
        """Outputs of the period that follows what is carried.

        Args:
            network: a network that `check` lets pass.
            inputs: `"image"`, and `"carried"`: what the period before gave, empty at the first.
            training: as in a call.

        Returns:
            Logits of the steps so far and the state behind them; in the last period, logits
            `(batch, T, classes)`.
        """
        carried = inputs["carried"]
        state = carried.get("state", {})
        logits, state = periods.run_period(network, inputs["image"], self.periods, state, training)
        if carried:
            logits = ops.concatenate([ops.stop_gradient(carried["outputs"]), logits], axis=1)
        if logits.shape[1] == network.output_shape[1]:
            return logits
        return {"outputs": logits, "state": state}


@export
@dataclasses.dataclass(frozen=True)
class FreeAdversarial(Replay):
    """Free adversarial training: each batch is trained on several times, ever more perturbed.

    With `batch_size`, the offset of the last update is where the next batch starts, as in the
    source. It is a variable of the model, of which each replica of TensorFlow's strategies has a
    copy for its part of the batch; a file holds that of the first. The gradient is that of the
    training pass. To keep the cost of plain training, divide the epochs by `replays`.

    Args:
        replays: updates per batch; 1 is plain training.
        epsilon: radius of the offset, in pixel units, not negative.
        step: its step after each update, positive; default: `epsilon`.
        batch_size: `None`, or the images of the largest batch; smaller ones use the first rows of
            the offset.

    Raises:
        ValueError: an argument outside its limits.

    Source: Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019, Algorithm 1 (`replays` 8
    and `epsilon` 8/255 for CIFAR-10). The released code takes the gradient through the clipping to
    [0, 1], so that an offset stays where it leaves that range; here it moves.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> from keras_dep.training import DefendedTraining
    >>> model = DefendedTraining(network, replay=FreeAdversarial(replays=3))
    >>> model.compile("sgd", "mse")
    >>> _ = model.train_on_batch(ops.ones((3, 4)), ops.ones((3, 2)))
    >>> int(model.optimizer.iterations)
    3
    """

    replays: int = 4
    epsilon: float = 2 / 255
    step: float | None = None
    batch_size: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "replays", validation.whole_number("replays", self.replays))
        if self.batch_size is not None:
            validation.whole_number("batch_size", self.batch_size)
        _check_radius(self)

    @property
    def active(self) -> bool:
        """Whether it changes a step."""
        return self.replays > 1

    def check(self, network: keras.Model) -> None:
        """Lets every network pass."""

    def ahead(self, images: Tensor, offset: Tensor, update: Update) -> tuple[Record, Tensor]:
        """As in `Replay`, with each update on all steps."""
        for _ in range(self.replays - 1):
            _, slope = update({"image": self.shown(images, offset)})
            offset = self.moved(offset, slope)
        return {"image": self.shown(images, offset)}, offset


def _check_radius(replay: Replay) -> None:
    if not 0 <= replay.epsilon < math.inf:
        raise ValueError(
            f"epsilon must be finite and at least 0; received {replay.epsilon}; 8 / 255 is usual."
        )
    if replay.step is not None and not 0 < replay.step < math.inf:
        raise ValueError(
            f"step must be finite and positive; received {replay.step}; None takes epsilon."
        )
