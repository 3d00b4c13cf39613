"""The base of the curvature operators: products on data, diagonal blocks, spectra."""

import functools
import math
import re
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Concatenate
from typing import ParamSpec
from typing import TypeAlias
from typing import TypeVar

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._internal import compilation
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.curvature import precision
from keras_dep.curvature import stateless
from keras_dep.curvature.lanczos import Spectrum
from keras_dep.curvature.lanczos import lanczos
from keras_dep.layers import overrides

# Per example, a product keeps about six times the memory of a training step: parts of an eighth of
# many examples stay below that of a step.
SHARE, FEW = 8, 16

# A loss of Keras, its name, or a function of targets and outputs.
Loss: TypeAlias = keras.losses.Loss | str | Callable[[Tensor, Tensor], Tensor]
Product: TypeAlias = Callable[[Tensor], Tensor]
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _in_its_dtype(
    method: Callable[Concatenate[Any, _Arguments], _Result],
) -> Callable[Concatenate[Any, _Arguments], _Result]:
    """The method of an operator, run in the precision of its dtype."""

    @functools.wraps(method)
    def run(self: Any, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        with precision.kept(self.dtype):
            return method(self, *arguments, **options)

    return run


class CurvatureOperator:
    """Base of the operators: a symmetric matrix in a model's trainable weights, by its products."""

    dtype: str

    def __init__(self, model: keras.Model, loss: Loss, dtype: str | None = None) -> None:
        self._model, self._dtype = model, dtype
        self._is_sum = getattr(loss, "reduction", None) == "sum"
        self._loss = _scalar(loss, dtype)
        self.weights = model.trainable_variables
        self._build()
        self.shapes = dict(zip(_names(self.weights), (tuple(w.shape) for w in self.weights)))
        self.dimension = sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def surrogate(self) -> str:
        """The surrogate derivative of the model's spikes, in words."""
        return overrides.surrogate_of(self._model)

    def _build(self) -> None:
        self._compiled_with = compilation.constants(self._model)
        self._stateless = stateless.Stateless(self._model, self.weights, self._dtype)
        self.dtype = self._stateless.dtype
        self._bind = self._operator()
        self._gradient = _backend.loss_gradient(self._objective)

    def _values(self) -> tuple[list[Tensor], list[Tensor]]:
        """Current values of weights and other variables; a changed model is compiled again."""
        if compilation.constants(self._model) != self._compiled_with:
            self._build()
        return self._stateless.values()

    def _operator(self) -> Callable[..., Product]:
        """The backend's function of weights, constants, x, y and share of penalties."""
        raise NotImplementedError

    def _answer(
        self,
        weights: list[Tensor],
        constants: list[Tensor],
        x: Tensor,
        y: Tensor,
        share: Tensor,
    ) -> Tensor:
        outputs, self._added = self._stateless(weights, constants, x)
        # Attributes that a call sets on its layers need no new compilation.
        self._compiled_with = compilation.constants(self._model)
        return outputs

    def _objective(
        self,
        weights: list[Tensor],
        constants: list[Tensor],
        x: Tensor,
        y: Tensor,
        share: Tensor,
    ) -> Tensor:
        return self._loss(y, self._answer(weights, constants, x, y, share))

    @_in_its_dtype
    def at(self, x: ArrayLike, y: ArrayLike, batch_size: int | None = None) -> Product:
        """Binds the operator to data and the current weights.

        The result holds a copy of the weights: later changes of the model do not change it.

        Args:
            x: inputs `(n, ...)`, or a structure of them.
            y: targets `(n, ...)`, or a structure of them.
            batch_size: largest number of examples processed together; by default an eighth of them,
                but at least 16. A product of 128 images then takes less memory than a training
                step. Processing all at once is faster on torch and JAX, which then reuse what
                products have in common. The result is always that of all examples.

        The processes of `keras_dep.distribution` divide the examples, and each must take the same
        products in the same order; so must those that call the methods below.

        Returns:
            A function from a vector `(dimension,)` to the operator's product with it, a tensor
            `(dimension,)` of the operator's dtype.

        Raises:
            ValueError: no examples, or a `batch_size` below 1.
        """
        parts, joined = self._parts(x, y, batch_size), _backend.workers()
        with joined.local([self._model]):
            weights, constants = self._values()
        single = self._bind(weights, constants, *parts[0][1:]) if len(parts) == 1 else None

        @precision.kept(self.dtype)
        def product(vector: Tensor) -> Tensor:
            vector = ops.convert_to_tensor(vector, self.dtype)
            if single:
                return joined.total(parts[0][0] * single(vector))
            # Bound for each vector again, to hold one part in memory at a time.
            products = (
                share * self._bind(weights, constants, *data)(vector) for share, *data in parts
            )
            return joined.total(sum(products, _zeros(self.dimension, vector)))

        return product

    @_in_its_dtype
    def gradient(self, x: ArrayLike, y: ArrayLike, batch_size: int | None = None) -> Tensor:
        """Computes the gradient of the loss in the same weights.

        Args:
            x: see `at`.
            y: see `at`.
            batch_size: see `at`.

        Returns:
            Flat gradient `(dimension,)` of the operator's dtype.

        Raises:
            ValueError: see `at`.
        """
        parts, joined = self._parts(x, y, batch_size), _backend.workers()
        with joined.local([self._model]):
            values = self._values()
        gradients = (share * self._gradient(*values, *data) for share, *data in parts)
        return joined.total(sum(gradients, ops.zeros((self.dimension,), self.dtype)))

    @_in_its_dtype
    def spectrum(
        self,
        x: ArrayLike,
        y: ArrayLike,
        count: int = 5,
        tolerance: float = 1e-3,
        max_steps: int = 80,
        seed: int = 0,
        which: str = "magnitude",
        vectors: bool = False,
        batch_size: int | None = None,
        within: str | None = None,
    ) -> Spectrum:
        """Computes extreme eigenvalues on given data; see `keras_dep.curvature.lanczos`.

        Args:
            x: see `at`.
            y: see `at`.
            count: number of eigenvalues.
            tolerance: residual at which the iteration stops, relative to the spectral radius.
            max_steps: largest number of products.
            seed: seed of the start vector.
            which: `"magnitude"`, `"largest"` or `"smallest"`.
            vectors: whether to compute eigenvectors.
            batch_size: see `at`.
            within: regular expression searched in the paths of the weights; the spectrum is then
                that of the diagonal block of the weights it matches.

        Returns:
            A `keras_dep.curvature.Spectrum`.

        Raises:
            ValueError: an argument outside its limits, a `within` that matches no weight, or a
                product with non-finite entries.
        """
        product, dimension = self.at(x, y, batch_size), self.dimension
        if within is not None:
            product, dimension = self.block(product, within)
        return lanczos(
            product, dimension, count, tolerance, max_steps, seed, which, vectors, self.dtype
        )

    @_in_its_dtype
    def block(self, product: Product, within: str) -> tuple[Product, int]:
        """Restricts a product to a diagonal block of some weights.

        Args:
            product: result of `at`.
            within: regular expression searched in the paths of the weights.

        Returns:
            `(product, dimension)` of the block.

        Raises:
            ValueError: `within` matches no weight.
        """
        chosen = [bool(re.search(within, path)) for path in self.shapes]
        if not any(chosen):
            raise ValueError(
                f"within must match the path of a weight; received {within!r} for "
                f"{', '.join(self.shapes)}."
            )
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]

        @precision.kept(self.dtype)
        def within_block(vector: Tensor) -> Tensor:
            vector = ops.convert_to_tensor(vector, self.dtype)
            parts, start = [], 0
            for size, is_chosen in zip(sizes, chosen):
                parts.append(vector[start : start + size] if is_chosen else _zeros(size, vector))
                start += size * is_chosen
            columns = self._split(product(ops.concatenate(parts)), sizes)
            return ops.concatenate([column for column, chose in zip(columns, chosen) if chose])

        return within_block, sum(size for size, chose in zip(sizes, chosen) if chose)

    @_in_its_dtype
    def by_weight(self, vector: Tensor) -> dict[str, Tensor]:
        """Splits a flat vector `(dimension,)` into tensors of the weights' shapes, by path."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        parts = self._split(vector, sizes)
        return {p: ops.reshape(part, self.shapes[p]) for p, part in zip(self.shapes, parts)}

    def _split(self, vector: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        ends = np.cumsum(sizes).tolist()
        return [vector[end - size : end] for size, end in zip(sizes, ends)]

    def _parts(
        self, x: ArrayLike, y: ArrayLike, batch_size: int | None
    ) -> list[tuple[float, Tensor, Tensor, Tensor]]:
        """`(share of the whole, x, y, share of the penalties in its loss)` of each own part."""
        joined = _backend.workers()
        total = len(keras.tree.flatten(x)[0])
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, or None; received {batch_size}.")
        if total == 0:
            raise ValueError("x must hold at least one example; received none.")
        batch_size = min(batch_size or _even_size(total), math.ceil(total / joined.count))
        parts = []
        for start in range(0, total, batch_size)[joined.rank :: joined.count]:
            part = slice(start, min(start + batch_size, total))
            tensors = keras.tree.map_structure(
                lambda array: self._in_parts(array[part]),  # noqa: B023
                (x, y),
            )
            share = (part.stop - part.start) / total
            shares = (1.0, share) if self._is_sum else (share, 1.0)
            parts.append((shares[0], *tensors, ops.convert_to_tensor(shares[1], self.dtype)))
        return parts

    def _in_parts(self, array: Tensor) -> Tensor:
        tensor = self._tensor(array)
        joined = _backend.workers()
        # Results of parts are averaged.
        return joined.divided(tensor) if self._is_sum else joined.in_parts(tensor, self._model)

    def _tensor(self, array: Tensor) -> Tensor:
        # By default Keras converts NumPy's float64 to float32.
        is_double = self.dtype == "float64" == keras.backend.standardize_dtype(array.dtype)
        return ops.convert_to_tensor(array, "float64" if is_double else None)


def _even_size(total: int) -> int:
    """The default size of parts; parts are almost equal, so that few shapes are compiled."""
    largest = max(FEW, math.ceil(total / SHARE))
    return math.ceil(total / math.ceil(total / largest))


def _scalar(loss: Loss, dtype: str | None) -> Callable[[Tensor, Tensor], Tensor]:
    loss = keras.losses.get(loss)
    if dtype and isinstance(loss, keras.losses.Loss):
        # A loss casts outputs to its own dtype.
        loss = type(loss).from_config({**loss.get_config(), "dtype": dtype})
    return lambda y, outputs: ops.mean(loss(y, outputs))


def _names(weights: Sequence[keras.Variable]) -> list[str]:
    """Paths of weights; equal ones are numbered."""
    paths = [weight.path for weight in weights]
    before = [paths[:index].count(path) for index, path in enumerate(paths)]
    return [f"{path}_{count}" if count else path for path, count in zip(paths, before)]


def _zeros(size: int, like: Tensor) -> Tensor:
    return ops.zeros((size,), like.dtype)
