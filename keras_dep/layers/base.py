"""The base class of layers that spike."""

import math
from collections.abc import Callable
from typing import Any
from typing import ClassVar

import keras

from keras_dep import surrogates
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis


class SpikingLayer(time_axis.Timed, keras.layers.Layer):
    """Base class of layers that fire with a surrogate derivative, over time folded into the batch.

    `keras_dep.with_surrogate`, the attacks' `surrogate=` and `estimator=`, `keras_dep.evaluate` and
    `keras_dep.profiling.ActivityProbe` find neurons by this class. Subclass it for a neuron of your
    own, or subclass `keras_dep.LIF` to change only how neurons charge or reset. A subclass must
    override `distances`; the default `call` fires where they are not negative. A subclass may
    override `call` with something cheaper. It must then read `surrogate` and `width` at each call,
    because attacks replace them temporarily.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        threshold: firing threshold, positive.
        surrogate: name of the surrogate derivative, one of `keras_dep.surrogates.names()`.
        width: width of the surrogate in units of the potential; default:
            `keras_dep.surrogates.usual_width(surrogate)`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Attributes:
        CONSTANTS: names of the attributes, besides `timesteps`, that evaluation results record of a
            neuron. Extend it with those of your own neuron.
        takes_estimator: whether `call` uses `estimator` when it is set. Such a layer must also have
            the methods `steps` and `decay_and_threshold` of `keras_dep.LIF`. A subclass that
            overrides `call` must set it again, because its `call` may ignore the estimator.
        estimator: a function `(layer, currents) -> spikes` with another derivative, which an attack
            sets temporarily, or `None`.

    Raises:
        ValueError: an argument outside its limits.

    Example:

    >>> from keras import ops
    >>> class Binary(SpikingLayer):
    ...     def distances(self, inputs: Tensor) -> Tensor:
    ...         return inputs - self.threshold
    >>> layer = Binary(timesteps=1, threshold=0.5, surrogate="arctan")
    >>> ops.convert_to_numpy(layer(ops.array([[0.2, 0.5, 0.9]]))).tolist()
    [[0.0, 1.0, 1.0]]
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), layer])
    >>> from keras_dep.layers import surrogate_of
    >>> surrogate_of(model)
    'arctan, width 0.5'
    """

    CONSTANTS: ClassVar[tuple[str, ...]] = ("threshold", "surrogate", "width")
    emits_spikes = True
    takes_estimator = False
    estimator: Callable[..., Tensor] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "call" in vars(cls) and "takes_estimator" not in vars(cls):
            cls.takes_estimator = False

    def __init__(
        self,
        timesteps: int,
        threshold: float = 1.0,
        surrogate: str = "triangle",
        width: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        time_axis.check_timesteps(timesteps)
        if not 0 < threshold < math.inf:
            raise ValueError(f"threshold must be positive and finite; received {threshold}.")
        self.timesteps = timesteps
        self.threshold = threshold
        self.width = surrogates.usual_width(surrogate) if width is None else width
        self.surrogate = surrogates.check(surrogate, self.width)
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        return self.fire(self.distances(inputs))

    def distances(self, inputs: Tensor) -> Tensor:
        """Membrane potential minus threshold at every step, ahead of the reset.

        Args:
            inputs: currents `(timesteps * batch, ...)`, time-major.

        Returns:
            Tensor like `inputs`; a neuron fires where it is not negative.

        Raises:
            NotImplementedError: a subclass does not override it.
        """
        raise NotImplementedError(
            f"distances(inputs) must be overridden by a layer that spikes; {type(self).__name__} "
            "inherits it from keras_dep.layers.SpikingLayer."
        )

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in a feature map `(batch, ...)`: that of Keras' data format."""
        return 1 if keras.config.image_data_format() == "channels_first" else -1

    def fire(self, distances: Tensor) -> Tensor:
        """Spikes of distances to the threshold, with the derivative of the layer's surrogate."""
        return surrogates.spike(distances, self.surrogate, self.width)

    def learnt_constants(self) -> dict[str, Array]:
        """The present values of constants that the layer learns, by name; results record them."""
        return {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "timesteps": self.timesteps,
            "threshold": self.threshold,
            "surrogate": self.surrogate,
            "width": self.width,
        }


def known_sizes(input_shape: Shape, what: str) -> tuple[int, ...]:
    """The sizes of one sample.

    Args:
        input_shape: shape of a layer's inputs, with the batch axis.
        what: what needs the sizes, for the message.

    Returns:
        The shape without the batch axis.

    Raises:
        ValueError: a size that is not known.
    """
    sizes = tuple(size for size in input_shape[1:] if size is not None)
    if len(sizes) < len(input_shape) - 1:
        raise ValueError(
            f"{what} must have inputs of known sizes; received the shape {tuple(input_shape)}; fix "
            "the size of the images."
        )
    return sizes
