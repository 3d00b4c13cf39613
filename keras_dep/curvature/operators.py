"""Hessian and Gauss-Newton matrix of a model's loss as operators."""

from collections.abc import Callable

import keras
from keras import ops

from keras_dep import _backend
from keras_dep._internal.types import Tensor
from keras_dep.curvature.base import CurvatureOperator
from keras_dep.curvature.base import Loss
from keras_dep.curvature.base import Product


class Hessian(CurvatureOperator):
    """Products of vectors with the Hessian of a loss in a model's trainable weights.

    The model runs in inference mode (frozen normalisation statistics, no dropout). For a spiking
    network the derivatives are those of the surrogate program: symmetric, but not the Hessian of
    the piecewise constant loss. Compare networks under one surrogate only
    (`keras_dep.with_surrogate`). Products are compiled once, and again when a setting of a layer
    changes; each call of `at` reads the current weights.

    Args:
        model: a built `keras.Model` with trainable weights. Weights that are frozen now count as
            constants; those frozen later do not.
        loss: a `keras.losses.Loss`, its string name, or a function `(y, outputs)` that returns the
            mean over the examples, or one number per example, whose mean is taken.
        dtype: `"float64"` to compute on a copy of the model in double precision; `"float32"` to
            compute a mixed-precision model in single precision; `None` for the model's own.
        regularizers: whether the loss includes the penalties that training adds: regularizers of
            weights and activities, and values that layers pass to `add_loss`. By default it does
            not, so that networks are compared by their loss on the data.

    Attributes:
        dimension: number of weights.
        dtype: dtype of the vectors.
        weights: the weights, in the order of the flat vectors.
        shapes: their shapes by path, in that order; equal paths are numbered.
        surrogate: the surrogate derivative of the model's spikes, in words.

    Raises:
        ValueError: the model has no trainable weights or cannot be copied in that dtype; in a
            product, an operation without a second derivative.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> hessian = Hessian(model, keras.losses.MeanSquaredError())
    >>> x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    >>> hessian.spectrum(x, y, count=1).eigenvalues.round(3).tolist()
    [10.0]
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        dtype: str | None = None,
        regularizers: bool = False,
    ) -> None:
        self._regularizers = regularizers
        super().__init__(model, loss, dtype)

    def _operator(self) -> Callable[..., Product]:
        return _backend.hessian_product(self._objective)

    def _objective(
        self,
        weights: list[Tensor],
        constants: list[Tensor],
        x: Tensor,
        y: Tensor,
        share: Tensor,
    ) -> Tensor:
        value = super()._objective(weights, constants, x, y, share)
        if not self._regularizers:
            return value
        penalties = [*self._added, *self._stateless.penalties(weights)]
        return value + share * sum(ops.cast(penalty, value.dtype) for penalty in penalties)


class GaussNewton(CurvatureOperator):
    """Products of vectors with the generalised Gauss-Newton matrix `J^T H J` of a loss.

    `J` is the Jacobian of the outputs in the weights, and `H` the Hessian of the loss in the
    outputs: this is the Hessian of the loss of the linearised network. For a convex loss it is
    positive semi-definite. No second derivative of a surrogate enters.

    Args:
        model: see `Hessian`; a model with one output.
        loss: see `Hessian`. Regularizers are never part of it.
        dtype: see `Hessian`.

    Attributes:
        dimension: see `Hessian`, as for `dtype`, `weights`, `shapes` and `surrogate`.

    Raises:
        ValueError: the model has no trainable weights or cannot be copied in that dtype.

    Source: Schraudolph 2002.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> gauss_newton = GaussNewton(model, "mse")
    >>> x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    >>> gauss_newton.spectrum(x, y, count=1).eigenvalues.round(3).tolist()
    [10.0]
    """

    def _operator(self) -> Callable[..., Product]:
        def value(
            outputs: Tensor, constants: list[Tensor], x: Tensor, y: Tensor, share: Tensor
        ) -> Tensor:
            return self._loss(y, outputs)

        return _backend.gauss_newton_product(self._answer, value)
