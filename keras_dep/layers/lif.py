"""Leaky integrate-and-fire neurons, unrolled over time folded into the batch."""

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras
from keras import ops

from keras_dep import _backend
from keras_dep import surrogates
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.layers import lif_gradient
from keras_dep.layers import time_axis
from keras_dep.layers.base import SpikingLayer

RESETS = ("soft", "hard")
# The arguments, also attributes, that results record of neurons.
CONSTANTS = (
    "tau",
    "threshold",
    "reset",
    "detach_reset",
    "detach_membrane",
    "surrogate",
    "width",
)


def check_tau(tau: float) -> None:
    """Raises `ValueError` unless `tau` is a membrane time constant of at least one step."""
    if not tau >= 1:
        raise ValueError(
            f"tau must be at least 1 (decay 1 - 1/tau); received {tau}; give a decay as decay."
        )


def time_constant(tau: float | None, decay: float | None, default: float) -> float:
    """The membrane time constant of `tau`, or of the decay `1 - 1/tau`, or the default.

    Args:
        tau: time constant in steps, at least 1, or `None`.
        decay: share that the membrane keeps from step to step, in [0, 1], or `None`.
        default: the time constant if both are `None`.

    Returns:
        The time constant, infinite for a decay of 1.

    Raises:
        ValueError: both are given, or one is outside its limits.

    Example:

    >>> time_constant(None, 0.5, default=1.1)
    2.0
    """
    if decay is None:
        tau = default if tau is None else tau
        check_tau(tau)
        return tau
    if tau is not None:
        raise ValueError(
            f"tau or decay must be given, not both; received tau={tau}, decay={decay}; they name "
            "one number, decay = 1 - 1/tau."
        )
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must lie in [0, 1]; received {decay}; a time constant is tau.")
    return 1.0 / (1.0 - decay) if decay < 1 else math.inf


@export
class LIF(SpikingLayer):
    """Leaky integrate-and-fire neurons over `timesteps` steps.

    With input current `x_t`, membrane potential `v` (0 before the first step) and threshold `V`:

        u_t = (1 - 1/tau) v_{t-1} + x_t          charge
        s_t = 1 where u_t >= V, else 0           fire
        v_t = u_t - V s_t                        soft reset, or
        v_t = (1 - s_t) u_t                      hard reset

    The input is not scaled by `1/tau`. `tau` is the membrane time constant in steps: with `tau=1`
    the membrane keeps nothing, `tau=math.inf` is the integrate-and-fire neuron `IF`. Some libraries
    and papers call the share that the membrane keeps from step to step "tau" or "beta"; pass it as
    `decay`.

    Training is backpropagation through time with the surrogate derivative in place of the step's
    (`keras_dep.surrogates.spike`). The gradient is the same in training and inference mode. State
    is local to a call: there is nothing to reset. The membrane is kept in float32 under half
    precision.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: membrane time constant in steps, at least 1; default 1.1. Alternatively:
        decay: the share that the membrane keeps, `1 - 1/tau`, from 0 to 1.
        threshold: firing threshold, positive.
        reset: `"soft"` or `"hard"`.
        detach_reset: cut the gradient through the spike in the reset.
        detach_membrane: cut the gradient through the membrane from step to step, as the released
            code of the paper does, which leaves no gradient through time.
        surrogate: name of the surrogate derivative, one of `keras_dep.surrogates.names()`.
        width: width of the surrogate in units of the potential; default:
            `keras_dep.surrogates.usual_width(surrogate)`.
        recompute: keep only the currents for the gradient and compute the steps again, for long
            sequences. On TensorFlow the second derivative is then not available.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major: the first `batch` rows are step 1.

    Output shape:
        Spikes like the inputs, each 0 or 1. A neuron whose potential is not finite gives NaN from
        that step on, and its derivative is NaN.

    Raises:
        ValueError: an argument outside its limits; at a call, `timesteps` other than the steps
            folded into the batch, if the graph of layers or the batch size shows it.

    Source: arXiv 2505.11134, Eq. 1; arithmetic of its released code where the text is silent.

    Example:

    >>> current = ops.full((4, 1), 0.95)
    >>> ops.convert_to_numpy(LIF(timesteps=4)(current)).ravel().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    CONSTANTS: ClassVar[tuple[str, ...]] = CONSTANTS
    takes_estimator = True

    def __init__(
        self,
        timesteps: int,
        tau: float | None = None,
        threshold: float = 1.0,
        reset: str = "soft",
        detach_reset: bool = False,
        detach_membrane: bool = False,
        surrogate: str = "triangle",
        width: float | None = None,
        decay: float | None = None,
        recompute: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(timesteps, threshold, surrogate, width, **kwargs)
        tau = time_constant(tau, decay, default=1.1)
        self.tau = tau
        self.reset = validation.one_of("reset", reset, RESETS)
        self.detach_reset = detach_reset
        self.detach_membrane = detach_membrane
        self.recompute = recompute
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        if self.estimator is not None:
            spikes = self.estimator(self, self._currents(inputs))
        elif self.carry is not None:
            spikes = ops.stack([fired for _, fired in self.steps(self._currents(inputs))])
        else:
            # Cast half precision step by step: the gradient may keep the currents.
            typed = keras.backend.is_float_dtype(inputs.dtype)
            currents = time_axis.unfold(inputs, self.timesteps) if typed else self._currents(inputs)
            program = keras.remat(self._program()) if self.recompute else self._program()
            spikes = program(currents, *self._learnt(self._membrane_dtype))
        return ops.cast(time_axis.fold(spikes), self.compute_dtype)

    def distances(self, inputs: Tensor) -> Tensor:
        """As in `SpikingLayer`; in float32 or float64."""
        currents = self._currents(inputs)
        constants = self.decay_and_threshold(currents.dtype)
        return time_axis.fold(self._over_steps(currents, self.fire, constants, "distance"))

    def decay_and_threshold(self, dtype: str) -> tuple[Any, Any]:
        """The share that the membrane keeps and the threshold: numbers, or tensors if learnt."""
        return self._constants(self._learnt(dtype))

    def _learnt(self, dtype: str) -> tuple[Tensor, ...]:
        """The learnt constants, as tensors: none, the decay, or decay and threshold."""
        return ()

    def _constants(self, learnt: Sequence[Tensor]) -> tuple:
        fixed = (1.0 - 1.0 / self.tau, self.threshold)
        return (*learnt, *fixed[len(learnt) :])

    @property
    def _membrane_dtype(self) -> str:
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _currents(self, inputs: Tensor) -> Tensor:
        return time_axis.unfold(ops.cast(inputs, self._membrane_dtype), self.timesteps)

    def _program(self) -> Callable[..., Tensor]:
        """The function from currents `(T, batch, ...)` and learnt constants to spikes."""
        # Bind now: gradients may be taken after an override has ended.
        timesteps, surrogate, width = self.timesteps, self.surrogate, self.width
        dtype = self._membrane_dtype
        derivative = surrogates.derivative(surrogate, width)

        def fire(distance):
            return surrogates.spike(distance, surrogate, width)

        def program(currents, *learnt):
            spikes = self._over_steps(
                ops.cast(currents, dtype), fire, self._constants(learnt), "spikes"
            )
            return ops.cast(spikes, currents.dtype)

        # A subclass may charge or reset otherwise.
        own = type(self)._step is LIF._step and type(self)._kept is LIF._kept
        if derivative is None or not own:
            return program
        soft, attached, fixed = self.reset == "soft", not self.detach_reset, self._constants(())
        through_time = not self.detach_membrane

        def constants(learnt):
            return (*learnt, *fixed[len(learnt) :])

        def forward(currents, *learnt):
            kept = []
            spikes, potentials = lif_gradient.forward(
                currents, *constants(learnt), soft, dtype, kept if learnt else None
            )
            # The potentials of the first step are its currents.
            return spikes, (*potentials[1:], *kept)

        def backward(gradient, saved, currents, *learnt):
            potentials = (ops.cast(currents[0], dtype), *saved[: timesteps - 1])
            kept = saved[timesteps - 1 :]
            decay, threshold = constants(learnt)
            # A decay of exactly 0 stops the gradient.
            carried = through_time and (bool(learnt) or decay > 0)
            terms = [] if len(learnt) > 1 else None
            found = lif_gradient.backward(
                gradient, potentials, decay, threshold, soft, derivative, attached, carried, terms
            )
            # Without learnt constants, cast each step before computing the next.
            if learnt:
                found = list(found)
            steps = [ops.cast(result, currents.dtype) for result in found]
            gradients = [ops.stack(steps[::-1])]
            if learnt:
                products = (result * before for result, before in zip(found[-2::-1], kept))
                gradients.append(_summed(products, decay))
            if terms:
                gradients.append(-_summed(terms, threshold))
            return tuple(gradients)

        return _backend.with_derivative(program, forward, backward)

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple[Any, Any] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Distances to the threshold and spikes, step by step.

        Args:
            currents: tensor `(T, batch, ...)`.
            fire: the function from distances to spikes; default: with the layer's surrogate.
            constants: decay and threshold; default: the layer's.

        Yields:
            Potential minus threshold, and spikes, each `(batch, ...)`.
        """
        constants = constants or self.decay_and_threshold(currents.dtype)
        membrane = None if self.carry is None else self.carry.start
        for current in ops.unstack(currents):
            membrane, distance, fired = self._step(membrane, current, fire or self.fire, constants)
            yield distance, fired
        if self.carry is not None:
            self.carry.last = ops.stop_gradient(membrane)

    def _over_steps(
        self, currents: Tensor, fire: Callable[[Tensor], Tensor], constants: tuple, what: str
    ) -> Tensor:
        """Distances (`what="distance"`) or spikes of all steps, `(T, batch, ...)`."""

        def step(membrane, current):
            membrane, distance, fired = self._step(membrane, current, fire, constants)
            return membrane, fired if what == "spikes" else distance

        return _backend.over_steps(step, ops.zeros_like(currents[0]), currents)

    def _step(
        self,
        membrane: Tensor | None,
        current: Tensor,
        fire: Callable[[Tensor], Tensor],
        constants: tuple,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The membrane after the reset, the distance to the threshold before it, and spikes."""
        decay, threshold = constants
        potential = current if membrane is None else decay * membrane + current
        distance = potential - threshold
        fired = fire(distance)
        return self._kept(potential, fired, threshold), distance, fired

    def _kept(self, potential: Tensor, fired: Tensor, threshold: Any) -> Tensor:
        """The membrane after the reset."""
        if self.detach_reset:
            fired = ops.stop_gradient(fired)
        if self.reset == "soft":
            membrane = potential - threshold * fired
        else:
            membrane = (1.0 - fired) * potential
        return ops.stop_gradient(membrane) if self.detach_membrane else membrane

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "tau": self.tau,
            "reset": self.reset,
            "detach_reset": self.detach_reset,
            "detach_membrane": self.detach_membrane,
            "recompute": self.recompute,
        }


def _summed(terms: Iterable[Tensor], constant: Tensor) -> Tensor:
    """The sum of terms `(batch, ...)` over batch and shared axes, in the shape of a constant."""
    axes = [0, *(place + 1 for place, size in enumerate(constant.shape) if size == 1)]
    sums = (ops.reshape(ops.sum(term, axis=axes), constant.shape) for term in terms)
    return sum(sums, ops.zeros_like(constant))


@export
class IF(LIF):
    """Integrate-and-fire neurons: `LIF` with `tau=math.inf`, without leak.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        threshold: firing threshold, positive.
        reset: `"soft"` or `"hard"`.
        detach_reset: as in `LIF`.
        detach_membrane: as in `LIF`.
        surrogate: as in `LIF`.
        width: as in `LIF`.
        recompute: as in `LIF`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: an argument outside its limits.

    Example:

    >>> ops.convert_to_numpy(IF(timesteps=4)(ops.full((4, 1), 0.5))).ravel().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        timesteps: int,
        threshold: float = 1.0,
        reset: str = "soft",
        detach_reset: bool = False,
        detach_membrane: bool = False,
        surrogate: str = "triangle",
        width: float | None = None,
        recompute: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            timesteps,
            tau=math.inf,
            threshold=threshold,
            reset=reset,
            detach_reset=detach_reset,
            detach_membrane=detach_membrane,
            surrogate=surrogate,
            width=width,
            recompute=recompute,
            **kwargs,
        )

    def get_config(self) -> Record:
        config = super().get_config()
        del config["tau"]
        return config
