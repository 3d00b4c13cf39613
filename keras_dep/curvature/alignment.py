"""Alignment of the component that DEP removes with the sharp directions of the loss."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.curvature import precision
from keras_dep.curvature.base import CurvatureOperator
from keras_dep.curvature.flat_vectors import inner
from keras_dep.curvature.lanczos import Spectrum
from keras_dep.optimizers import DEP


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Gradient, step and removed component in the basis of leading eigenvectors.

    Let `g` be the gradient, `p` the gradient projected by `DEP`, `r = g - p`, `q_i` the leading
    eigenvectors, and `q_1` the one of the eigenvalue with the largest magnitude.

    Attributes:
        gradient_energy_in_top: `sum_i <g, q_i>^2 / |g|^2`, in [0, 1].
        step_energy_in_top: the same for `p`.
        removed_energy_in_top: the same for `r`.
        curvature_along_gradient: `g^T H g / g^T g`.
        curvature_along_step: the same for `p`.
        curvature_along_removed: the same for `r`.
        cosine: `|<r, q_1>| / |r|`, over all weights.
        layers: by path of each projected weight: `cosine` between its own `s_1 u_1 v_1^T` and its
            part of `q_1`; `chance`, the mean cosine of random directions of its size;
            `sharpest_energy`, its share of `|q_1|^2`; `removed_energy`, `s_1^2` over the squared
            norm of its gradient.
    """

    gradient_energy_in_top: float
    step_energy_in_top: float
    removed_energy_in_top: float
    curvature_along_gradient: float
    curvature_along_step: float
    curvature_along_removed: float
    cosine: float
    layers: dict[str, dict[str, float]]


def measure(
    curvature: CurvatureOperator,
    x: ArrayLike,
    y: ArrayLike,
    spectrum: Spectrum,
    optimizer: keras.optimizers.Optimizer | None = None,
    batch_size: int | None = None,
) -> Alignment:
    """Compares the projection with the leading eigenvectors on the same data.

    The gradient is taken of the loss of `curvature`, in inference mode. Weights and optimizer state
    do not change.

    Args:
        curvature: a `keras_dep.Hessian` or `keras_dep.GaussNewton`.
        x: inputs, as for `curvature.at`.
        y: targets.
        spectrum: result of `curvature.spectrum(x, y, vectors=True)` on the same data.
        optimizer: a `DEP` whose settings select the weights; with any other optimizer, or `None`,
            the default settings do.
        batch_size: as for `curvature.at`.

    Returns:
        An `Alignment`.

    Raises:
        ValueError: a spectrum without vectors, or a non-finite gradient.

    Example:

    >>> from keras_dep import Hessian
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    >>> hessian = Hessian(model, "mse")
    >>> x, y = np.eye(4, dtype="float32")[:1], np.ones((1, 3), "float32")
    >>> found = measure(hessian, x, y, hessian.spectrum(x, y, vectors=True))
    >>> round(found.curvature_along_gradient, 4), found.curvature_along_step
    (0.6667, 0.0)
    """
    if spectrum.vectors is None:
        raise ValueError("spectrum must hold vectors; received one without; ask for vectors=True.")
    with precision.kept(curvature.dtype):
        return _measured(curvature, x, y, spectrum, optimizer, batch_size)


def _measured(
    curvature: CurvatureOperator,
    x: ArrayLike,
    y: ArrayLike,
    spectrum: Spectrum,
    optimizer: keras.optimizers.Optimizer | None,
    batch_size: int | None,
) -> Alignment:
    gradient = curvature.gradient(x, y, batch_size)
    before = curvature.by_weight(gradient)
    projection = _projection(optimizer, curvature.weights)
    rest = projection.transform(list(before.values()), curvature.weights)
    step = ops.concatenate([ops.reshape(part, (-1,)) for part in rest])
    removed = gradient - step
    product = curvature.at(x, y, batch_size)
    vectors = spectrum.vectors or []
    in_top = [_energy_within(vector, vectors) for vector in (gradient, step, removed)]
    # Relative to the gradient, a short vector is rounding error.
    scale = inner(gradient, gradient)
    along = [_curvature_along(product, vector, scale) for vector in (gradient, step, removed)]
    sharpest = vectors[int(np.argmax(np.abs(spectrum.eigenvalues)))]
    cosine = _cosine(removed, sharpest)
    parts = (before, curvature.by_weight(removed), curvature.by_weight(sharpest))
    layers = {
        path: _layer(*(part[path] for part in parts))
        for path in curvature.shapes
        if path in projection.projected_paths
    }
    return Alignment(
        gradient_energy_in_top=in_top[0],
        step_energy_in_top=in_top[1],
        removed_energy_in_top=in_top[2],
        curvature_along_gradient=along[0],
        curvature_along_step=along[1],
        curvature_along_removed=along[2],
        cosine=cosine,
        layers=layers,
    )


def _projection(
    optimizer: keras.optimizers.Optimizer | None, weights: Sequence[keras.Variable]
) -> DEP:
    """A separate `DEP`, so that the records of the training one do not change."""
    options: dict[str, Any] = {}
    if isinstance(optimizer, DEP):
        names = ("rank_one", "exclude", "output_axes")
        options = {name: getattr(optimizer, name) for name in names}
    projection = DEP(keras.optimizers.SGD(0.0), **options)
    with warnings.catch_warnings(action="ignore"):
        projection.build(weights)
    return projection


def _layer(gradient: Tensor, removed: Tensor, sharpest: Tensor) -> dict[str, float]:
    energy = inner(gradient, gradient)
    return {
        "cosine": _cosine(removed, sharpest),
        "chance": math.sqrt(2 / (math.pi * math.prod(sharpest.shape))),
        "sharpest_energy": inner(sharpest, sharpest),
        "removed_energy": inner(removed, removed) / energy if energy else 0.0,
    }


def _energy_within(vector: Tensor, basis: Sequence[Tensor]) -> float:
    total = inner(vector, vector)
    return sum(inner(vector, q) ** 2 for q in basis) / total if total else 0.0


def _curvature_along(product: Callable[[Tensor], Tensor], vector: Tensor, scale: float) -> float:
    total = inner(vector, vector)
    return inner(product(vector), vector) / total if total > 1e-12 * scale else 0.0


def _cosine(one: Tensor, other: Tensor) -> float:
    lengths = math.sqrt(inner(one, one) * inner(other, other))
    return abs(inner(one, other)) / lengths if lengths else 0.0
