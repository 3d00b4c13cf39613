"""Curvature of a model's loss: Hessian and Gauss-Newton matrix as operators, and their spectra."""

import functools
import math
import re

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep import curvature
from keras_dep._internal import compilation
from keras_dep.curvature import precision
from keras_dep.curvature import stateless
from keras_dep.layers import overrides

# A product keeps about six times a training step's memory for each example: an eighth of many stays
# below one.
SHARE, FEW = 8, 16


def _in_its_dtype(method):
    @functools.wraps(method)
    def run(self, *arguments, **options):
        with precision.kept(self.dtype):
            return method(self, *arguments, **options)

    return run


class _Curvature:
    """A symmetric matrix in a model's trainable weights, known through its products."""

    def __init__(self, model, loss, dtype=None):
        self._model, self._dtype = model, dtype
        self._is_sum = getattr(loss, "reduction", None) == "sum"
        self._loss = _scalar(loss, dtype)
        self.weights = model.trainable_variables
        self._build()
        self.shapes = dict(zip(_names(self.weights), (tuple(w.shape) for w in self.weights)))
        self.dimension = sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def surrogate(self):
        return overrides.surrogate_of(self._model)

    def _build(self):
        self._compiled_with = compilation.constants(self._model)
        self._stateless = stateless.Stateless(self._model, self.weights, self._dtype)
        self.dtype = self._stateless.dtype
        self._bind = self._operator()
        self._gradient = _backend.loss_gradient(self._value)

    def _values(self):
        """What weights and other variables are now, for functions that are those of the model."""
        if compilation.constants(self._model) != self._compiled_with:
            self._build()
        return self._stateless.values()

    def _operator(self):
        """The backend's product function of weights, constants, x, y and share of the penalties."""
        raise NotImplementedError

    def _answer(self, weights, constants, x, y, share):
        outputs, self._added = self._stateless(weights, constants, x)
        # What a call sets on its layers is no reason to compile again.
        self._compiled_with = compilation.constants(self._model)
        return outputs

    def _value(self, weights, constants, x, y, share):
        return self._loss(y, self._answer(weights, constants, x, y, share))

    @_in_its_dtype
    def at(self, x, y, batch_size=None):
        """The product function of a flat vector, on these data and the present weights.

        It holds a copy of the weights: a later change of the model changes no product.

        Args:
            x: inputs `(n, ...)`, or a structure of them.
            y: targets `(n, ...)`, or a structure of them.
            batch_size: largest number of examples looked at together; default: an eighth of them,
                but at least 16. A product of 128 images then takes less memory than a training
                step; all at once is faster on torch and JAX, which then keep what every product
                shares. The product is that of all of them, each part weighted by its size.

        Returns:
            A function from a vector `(dimension,)` to a tensor like it, of the operator's dtype.

        Raises:
            ValueError: no examples, or a `batch_size` below 1.
        """
        weights, constants = self._values()
        parts = self._parts(x, y, batch_size)
        whole = self._bind(weights, constants, *parts[0][1:]) if len(parts) == 1 else None

        @precision.kept(self.dtype)
        def product(vector):
            vector = ops.convert_to_tensor(vector, self.dtype)
            if whole:
                return whole(vector)
            # Bound anew for each vector: no more than one part is held in memory.
            return sum(
                share * self._bind(weights, constants, *data)(vector) for share, *data in parts
            )

        return product

    @_in_its_dtype
    def gradient(self, x, y, batch_size=None):
        """The loss' flat gradient `(dimension,)` in the same weights; arguments as for `at`."""
        values = self._values()
        parts = self._parts(x, y, batch_size)
        return sum(share * self._gradient(*values, *data) for share, *data in parts)

    @_in_its_dtype
    def spectrum(
        self,
        x,
        y,
        count=5,
        tolerance=1e-3,
        max_steps=80,
        seed=0,
        which="magnitude",
        vectors=False,
        batch_size=None,
        within=None,
    ):
        """Extreme eigenvalues on these data; see `keras_dep.curvature.lanczos`.

        Args:
            x: see `at`.
            y: see `at`.
            count: how many.
            tolerance: residual at which they count as found, relative to the spectral radius.
            max_steps: limit of products.
            seed: seed of the start vector.
            which: `"magnitude"`, `"largest"` or `"smallest"`.
            vectors: whether eigenvectors are kept.
            batch_size: see `at`.
            within: regular expression searched in the weights' paths: the spectrum is then that of
                the diagonal block of these weights.

        Returns:
            A `keras_dep.curvature.Spectrum`.

        Raises:
            ValueError: an argument outside its limits, a path that no weight has, or a product
                with non-finite entries.
        """
        product, dimension = self.at(x, y, batch_size), self.dimension
        if within is not None:
            product, dimension = self.block(product, within)
        return curvature.lanczos(
            product, dimension, count, tolerance, max_steps, seed, which, vectors, self.dtype
        )

    @_in_its_dtype
    def block(self, product, within):
        """The diagonal block of the weights whose path `within` finds.

        Args:
            product: what `at` gave.
            within: regular expression searched in the weights' paths.

        Returns:
            `(product, dimension)` of the block.

        Raises:
            ValueError: no path is found.
        """
        chosen = [bool(re.search(within, path)) for path in self.shapes]
        if not any(chosen):
            raise ValueError(
                f"within must be found in a weight's path; received {within!r} for "
                f"{', '.join(self.shapes)}."
            )
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]

        @precision.kept(self.dtype)
        def within_block(vector):
            vector = ops.convert_to_tensor(vector, self.dtype)
            parts, start = [], 0
            for size, is_chosen in zip(sizes, chosen):
                parts.append(vector[start : start + size] if is_chosen else _zeros(size, vector))
                start += size * is_chosen
            columns = self._split(product(ops.concatenate(parts)), sizes)
            return ops.concatenate([column for column, chose in zip(columns, chosen) if chose])

        return within_block, sum(size for size, chose in zip(sizes, chosen) if chose)

    @_in_its_dtype
    def by_weight(self, vector):
        """A flat vector as tensors in the weights' shapes, by path."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        parts = self._split(vector, sizes)
        return {p: ops.reshape(part, self.shapes[p]) for p, part in zip(self.shapes, parts)}

    def _split(self, vector, sizes):
        ends = np.cumsum(sizes).tolist()
        return [vector[end - size : end] for size, end in zip(sizes, ends)]

    def _parts(self, x, y, batch_size):
        """`(share of the whole, x, y, share of the penalties in its loss)` of each part."""
        total = len(keras.tree.flatten(x)[0])
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, or None; received {batch_size}.")
        if total == 0:
            raise ValueError("x must hold at least one example; received none.")
        batch_size = batch_size or _even_size(total)
        parts = []
        for start in range(0, total, batch_size):
            part = slice(start, min(start + batch_size, total))
            tensors = keras.tree.map_structure(
                lambda array: self._tensor(array[part]),  # noqa: B023
                (x, y),
            )
            share = (part.stop - part.start) / total
            shares = (1.0, share) if self._is_sum else (share, 1.0)
            parts.append((shares[0], *tensors, ops.convert_to_tensor(shares[1], self.dtype)))
        return parts

    def _tensor(self, array):
        # Keras narrows NumPy's doubles unless told.
        is_double = self.dtype == "float64" == keras.backend.standardize_dtype(array.dtype)
        return ops.convert_to_tensor(array, "float64" if is_double else None)


class Hessian(_Curvature):
    """Products of vectors with the Hessian of a loss in a model's trainable weights.

    The model runs in inference mode (frozen normalisation statistics, no dropout). For a spiking
    network the derivatives are those of the surrogate program: symmetric, but not the Hessian of
    the piecewise constant loss, so compare networks under one surrogate only
    (`keras_dep.with_surrogate`). Compiled once and kept, until a setting of a layer changes;
    weights are read afresh at each `at`.

    Args:
        model: a built `keras.Model` with trainable weights; frozen ones count as constants, and
            those of a layer frozen later do not.
        loss: a `keras.losses.Loss`, its string name, or any function `(y, outputs)` of one number
            or one per example; the mean of several numbers is taken.
        dtype: `"float64"` to compute on a copy of the model in double precision; `"float32"` to
            measure a model of mixed precision in full.
        regularizers: whether the loss includes the penalties that training adds: regularizers of
            weights and activities, and whatever layers pass to `add_loss`. They are left out by
            default, so that networks are compared by their loss on the data.

    Attributes:
        dimension: number of weights.
        dtype: dtype of the vectors.
        weights: the weights, in the order of the flat vectors.
        shapes: their shapes by their paths, in that order; equal paths are numbered.
        surrogate: the surrogate derivative of the model's spikes, in words.

    Raises:
        ValueError: the model has no trainable weights, or cannot be copied in that dtype; in a
            product, an operation without a second derivative.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> hessian = Hessian(model, keras.losses.MeanSquaredError())
    >>> x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    >>> hessian.spectrum(x, y, count=1).eigenvalues.round(3).tolist()
    [10.0]
    """

    def __init__(self, model, loss, dtype=None, regularizers=False):
        self._regularizers = regularizers
        super().__init__(model, loss, dtype)

    def _operator(self):
        return _backend.hessian_product(self._value)

    def _value(self, weights, constants, x, y, share):
        value = super()._value(weights, constants, x, y, share)
        if not self._regularizers:
            return value
        penalties = [*self._added, *self._stateless.penalties(weights)]
        return value + share * sum(ops.cast(penalty, value.dtype) for penalty in penalties)


class GaussNewton(_Curvature):
    """Products with the generalised Gauss-Newton matrix `J^T H J` of a loss.

    `J` is the Jacobian of the outputs in the weights and `H` the Hessian of the loss in the
    outputs: what is left of the Hessian when the network is linearised. For a convex loss it is
    positive semi-definite, and no second derivative of a surrogate enters.

    Arguments and attributes as for `Hessian`, but for regularizers, which are never part of it; the
    model has one output.

    Source: Schraudolph 2002.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> gauss_newton = GaussNewton(model, "mse")
    >>> x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    >>> gauss_newton.spectrum(x, y, count=1).eigenvalues.round(3).tolist()
    [10.0]
    """

    def _operator(self):
        def value(outputs, constants, x, y, share):
            return self._loss(y, outputs)

        return _backend.gauss_newton_product(self._answer, value)


def _even_size(total):
    """The default size of parts: as equal as can be, so that few shapes are compiled."""
    largest = max(FEW, math.ceil(total / SHARE))
    return math.ceil(total / math.ceil(total / largest))


def _scalar(loss, dtype):
    loss = keras.losses.get(loss)
    if dtype and isinstance(loss, keras.losses.Loss):
        # A loss casts outputs to a dtype of its own.
        loss = type(loss).from_config({**loss.get_config(), "dtype": dtype})
    return lambda y, outputs: ops.mean(loss(y, outputs))


def _names(weights):
    """Their paths, numbered where layers share a name."""
    paths = [weight.path for weight in weights]
    before = [paths[:index].count(path) for index, path in enumerate(paths)]
    return [f"{path}_{count}" if count else path for path, count in zip(paths, before)]


def _zeros(size, like):
    return ops.zeros((size,), like.dtype)
