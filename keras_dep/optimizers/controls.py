"""Controls for `DEP`: wrappers that differ from it in one respect, on the same weights.

They show whether the *leading* component matters: they remove a random component of equal energy,
the second component, or the leading one less often, add noise of that energy, or bound the norm.
"""

import math
from collections.abc import Mapping
from collections.abc import Sequence

import keras
from keras import ops

from keras_dep import deflation
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.deflation.projection import OutputAxes
from keras_dep.optimizers.base import GradientTransform
from keras_dep.optimizers.dep import DEP
from keras_dep.optimizers.matrix_transform import Exclude

# For each gradient the rest, the share of the energy removed, and the singular value.
Removed = list[tuple[Tensor, ...]]


@export
class SecondComponentRemoval(DEP):
    """Removes the second singular component of each gradient, `G - s_2 u_2 v_2^T`.

    Arguments, weights and variables are those of `DEP`; `removed_energy` is the share of the second
    component, `leading_value` is `s_2`.

    Example:

    >>> kernel = keras.Variable(ops.zeros((3, 3)))
    >>> control = SecondComponentRemoval(keras.optimizers.SGD(1.0))
    >>> control.apply([ops.diag(ops.array([3.0, 2.0, 1.0]))], [kernel])
    >>> ops.convert_to_numpy(ops.abs(ops.diagonal(kernel))).round(4).tolist()
    [3.0, 0.0, 1.0]
    """

    def transform_matrices(
        self, gradients: Sequence[Tensor], output_axes: Sequence[OutputAxes]
    ) -> Removed:
        without_first = [rest for rest, _, _ in deflation.deflate_all(gradients, output_axes)]
        second = deflation.deflate_all(without_first, output_axes)
        found = []
        for gradient, before, (rest, _, value) in zip(gradients, without_first, second):
            kept = gradient - ops.where(_is_finite(gradient), before - rest, 0.0)
            found.append((kept, _share(value, gradient), value))
        return found


@export
class RandomRankOneRemoval(DEP):
    """Subtracts a random component of the leading one's energy, `G - s_1 sign(<G, u v^T>) u v^T`.

    `u` and `v` are random unit vectors, drawn for each weight at each step; `s_1` is the leading
    singular value of `G`. Because of the sign, the subtracted component has a positive inner
    product with the gradient. `removed_energy` is `s_1^2 / ||G||^2`, as for `DEP`; the norm of the
    gradient may still grow, because a random direction contains little of it.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        seed: seed of the draws; by default drawn from Keras.
        rank_one: as in `DEP`.
        exclude: as in `DEP`.
        output_axes: as in `DEP`.
        gradient_accumulation_steps: as in `DEP`.
        name: name of the optimizer.

    Example:

    >>> kernel = keras.Variable(ops.zeros((4, 3)))
    >>> control = RandomRankOneRemoval(keras.optimizers.SGD(1.0), seed=0)
    >>> control.apply([ops.eye(4, 3)], [kernel])
    >>> round(float(control.removed_energy[0]), 4)
    0.3333
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        seed: int | None = None,
        rank_one: str = "keep",
        exclude: Exclude = (),
        output_axes: Mapping[str, OutputAxes] | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            inner_optimizer, rank_one, exclude, output_axes, gradient_accumulation_steps, name
        )
        self.seed = seed

    def build_state(self, variables: Sequence[keras.Variable]) -> None:
        self._generator = self.add_seed_generator(self.seed)
        super().build_state(variables)

    def transform_matrices(
        self, gradients: Sequence[Tensor], output_axes: Sequence[OutputAxes]
    ) -> Removed:
        leading = deflation.deflate_all(gradients, output_axes)
        return [
            (self._other(gradient, axes, value), share, value)
            for gradient, axes, (_, share, value) in zip(gradients, output_axes, leading)
        ]

    def get_config(self) -> Record:
        return {**super().get_config(), "seed": self.seed}

    def _other(self, gradient: Tensor, output_axes: OutputAxes, value: Tensor) -> Tensor:
        """The gradient after a change of the Frobenius norm `value`."""
        matrix = deflation.matricise(gradient, output_axes)
        rows, columns = matrix.shape
        component = self._unit((rows, 1)) * self._unit((1, columns))
        inner = ops.sum(ops.cast(matrix, "float32") * component)
        sign = ops.where(inner < 0, -1.0, 1.0)
        change = deflation.unmatricise(component, gradient.shape, output_axes)
        return _less(gradient, value * sign * change)

    def _unit(self, shape: Sequence[int]) -> Tensor:
        draw = keras.random.normal(shape, dtype="float32", seed=self._generator)
        return draw / ops.sqrt(ops.sum(ops.square(draw)))


@export
class RemovedEnergyNoise(RandomRankOneRemoval):
    """Adds Gaussian noise of the energy that `DEP` would remove, `G + s_1 N / ||N||`.

    Arguments are those of `RandomRankOneRemoval`; `N` is drawn for each weight at each step.
    `removed_energy` is the energy of the noise over that of the gradient.

    Example:

    >>> kernel = keras.Variable(ops.zeros((4, 3)))
    >>> control = RemovedEnergyNoise(keras.optimizers.SGD(1.0), seed=0)
    >>> control.apply([ops.eye(4, 3)], [kernel])
    >>> noise = kernel + ops.eye(4, 3)
    >>> round(float(ops.convert_to_numpy(ops.sum(noise * noise))), 4)
    1.0
    """

    def _other(self, gradient: Tensor, output_axes: OutputAxes, value: Tensor) -> Tensor:
        return _less(gradient, value * self._unit(gradient.shape))


@export
class PeriodicDEP(DEP):
    """`DEP` at every k-th update; other updates get the gradient unchanged.

    The first update projects. `removed_energy` and `leading_value` are 0 after other updates.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        every: the period `k` in updates, at least 1; 1 is `DEP`.
        rank_one: as in `DEP`.
        exclude: as in `DEP`.
        output_axes: as in `DEP`.
        gradient_accumulation_steps: as in `DEP`.
        name: name of the optimizer.

    Raises:
        ValueError: as `DEP`, or `every` below 1.

    Example:

    >>> kernel = keras.Variable(ops.zeros((3, 3)))
    >>> control = PeriodicDEP(keras.optimizers.SGD(1.0), every=2)
    >>> for _ in range(2):
    ...     control.apply([ops.diag(ops.array([3.0, 2.0, 1.0]))], [kernel])
    >>> ops.convert_to_numpy(ops.abs(ops.diagonal(kernel))).round(4).tolist()
    [3.0, 4.0, 2.0]
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        every: int = 2,
        rank_one: str = "keep",
        exclude: Exclude = (),
        output_axes: Mapping[str, OutputAxes] | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            inner_optimizer, rank_one, exclude, output_axes, gradient_accumulation_steps, name
        )
        self.every = validation.whole_number("every", every)

    def transform_matrices(
        self, gradients: Sequence[Tensor], output_axes: Sequence[OutputAxes]
    ) -> Removed:
        leading = deflation.deflate_all(gradients, output_axes)
        now = ops.equal(self.iterations % self.every, 0)
        return [
            (ops.where(now, rest, gradient), ops.where(now, share, 0.0), ops.where(now, value, 0.0))
            for gradient, (rest, share, value) in zip(gradients, leading)
        ]

    def get_config(self) -> Record:
        return {**super().get_config(), "every": self.every}


@export
class GlobalNormClipping(GradientTransform):
    """Scales all gradients by `min(1, max_norm / norm)`, with `norm` that of all of them together.

    Like `global_clipnorm` of Keras' optimizers, but as a wrapper: it clips before inner wrappers,
    for example before coupled weight decay.

    Args:
        inner_optimizer: the optimizer to wrap, an instance or a string.
        max_norm: the largest norm, positive.
        gradient_accumulation_steps: as in `DEP`.
        name: name of the optimizer.

    Raises:
        ValueError: `max_norm` is not positive, or no Keras optimizer.

    Source: Pascanu et al. 2013, Algorithm 1.

    Example:

    >>> weight = keras.Variable([0.0, 0.0])
    >>> control = GlobalNormClipping(keras.optimizers.SGD(1.0), max_norm=1.0)
    >>> control.apply([ops.array([3.0, 4.0])], [weight])
    >>> [round(float(each), 4) for each in ops.convert_to_numpy(weight)]
    [-0.6, -0.8]
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer | str,
        max_norm: float = 1.0,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        if not 0 < max_norm <= math.inf:
            raise ValueError(
                f"max_norm must be positive; received {max_norm}; math.inf clips nothing."
            )
        super().__init__(inner_optimizer, gradient_accumulation_steps, name=name)
        self.max_norm = max_norm

    def transform(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> Sequence[Tensor | None]:
        if self.max_norm == math.inf:
            return gradients
        present = [ops.cast(each, "float32") for each in gradients if each is not None]
        norm = ops.sqrt(sum(ops.sum(ops.square(each)) for each in present))
        # The inner optimizer divides by its loss scale later.
        largest = self.max_norm * (self.loss_scale_factor or 1.0)
        # A norm that overflows would scale to 0, and hide that nothing is learnt: NaN instead.
        scale = ops.where(ops.isfinite(norm), ops.minimum(1.0, largest / norm), float("nan"))
        return [None if each is None else each * ops.cast(scale, each.dtype) for each in gradients]

    def get_config(self) -> Record:
        return {**super().get_config(), "max_norm": self.max_norm}


def _is_finite(gradient: Tensor) -> Tensor:
    return ops.all(ops.isfinite(gradient))


def _share(value: Tensor, gradient: Tensor) -> Tensor:
    energy = ops.sum(ops.square(ops.cast(gradient, "float32")))
    return ops.where(energy > 0, ops.square(value) / ops.maximum(energy, 1e-38), 0.0)


def _less(gradient: Tensor, change: Tensor) -> Tensor:
    """Subtracts a change from a gradient; a non-finite gradient is returned unchanged."""
    change = ops.where(_is_finite(gradient), change, 0.0)
    return gradient - ops.cast(change, gradient.dtype)
