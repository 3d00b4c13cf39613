"""The base class of terms that a defence adds to the loss."""

import dataclasses
import math
from typing import Any
from typing import ClassVar

import keras

from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.training.in_step import StepGradient


@dataclasses.dataclass(frozen=True)
class LossTerm:
    """Base class of what `keras_dep.training.DefendedTraining` adds to the loss.

    A term is a frozen dataclass, registered by `keras.saving.register_keras_serializable`, whose
    fields decide all that it computes. Override `__call__`, and `prepare` where the term needs an
    input gradient or crafted images.

    Attributes:
        name: names the term's metric; two terms of one model need two names.
        active: whether the term changes the loss. One that does not is left out of the step.

    Example:

    >>> from keras import ops
    >>> @dataclasses.dataclass(frozen=True)
    ... class SmallLogits(LossTerm):
    ...     strength: float = 0.1
    ...     name = "small_logits"
    ...     def __call__(self, network, images, labels, outputs, prepared):
    ...         return self.strength * ops.mean(ops.square(outputs))
    >>> SmallLogits.from_config(SmallLogits(0.5).get_config())
    SmallLogits(strength=0.5)
    """

    name: ClassVar[str]

    @property
    def active(self) -> bool:
        """Whether the term changes the loss: whether its field `strength`, if any, is not 0."""
        return getattr(self, "strength", 1) != 0

    def check(self, network: keras.Model) -> None:
        """Raises `ValueError` for a network that the term cannot be computed of."""

    def prepare(
        self, network: keras.Model, images: Tensor, labels: Tensor, gradient: StepGradient
    ) -> Any:
        """Tensors that are constants of the step, computed ahead of it under its weights.

        Args:
            network: the network to be trained.
            images: the images that the step trains on, `(batch, ...)`.
            labels: int32 tensor `(batch,)`.
            gradient: the function that the train step hands out, for
                `keras_dep.training.in_step.crafted` and `input_gradient`.

        Returns:
            A tensor, or a dictionary or list of tensors.
        """
        return ()

    def __call__(
        self, network: keras.Model, images: Tensor, labels: Tensor, outputs: Tensor, prepared: Any
    ) -> Tensor:
        """The term as a scalar, within the training pass, where it is differentiated.

        Args:
            network: the network to be trained, which may be called once more.
            images: the images that the step trains on, `(batch, ...)`.
            labels: int32 tensor `(batch,)`.
            outputs: the network's logits of the images in training mode.
            prepared: what `prepare` has returned.
        """
        raise NotImplementedError(
            f"__call__ must be overridden by a loss term; {type(self).__name__} inherits it from "
            "keras_dep.training.LossTerm."
        )

    def get_config(self) -> Record:
        """The fields of the term by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: Record) -> "LossTerm":
        """The term that `get_config` describes."""
        return cls(**config)


def check_strength(name: str, value: float) -> None:
    """Raises `ValueError` unless a weight of a term is finite and at least 0."""
    if not 0 <= value < math.inf:
        raise ValueError(
            f"{name} must be finite and at least 0; received {value}; 0 leaves the term out."
        )
