"""Whether the component that DEP removes is the sharp direction of the loss."""

import dataclasses
import math
import warnings

import keras
import numpy as np
from keras import ops

from keras_dep.curvature import precision
from keras_dep.curvature.flat_vectors import inner
from keras_dep.optimizers import DEP


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How gradient, step and removed component lie in the curvature.

    With `g` the gradient, `p` what `DEP` leaves of it, `r = g - p`, and `q_i` the leading
    eigenvectors, `q_1` that of the largest magnitude:

    Attributes:
        gradient_energy_in_top: `sum_i <g, q_i>^2 / |g|^2`, in [0, 1].
        step_energy_in_top: the same for `p`.
        removed_energy_in_top: the same for `r`.
        curvature_along_gradient: `g^T H g / g^T g`.
        curvature_along_step: the same for `p`.
        curvature_along_removed: the same for `r`.
        cosine: `|<r, q_1>| / |r|`, over all weights.
        layers: by path of each projected weight: `cosine`, that of its own `s_1 u_1 v_1^T` with its
            part of `q_1`; `chance`, what random directions of its size have in the mean;
            `sharpest_energy`, its share of `|q_1|^2`; `removed_energy`, `s_1^2` over its share of
            `|g|^2`.
    """

    gradient_energy_in_top: float
    step_energy_in_top: float
    removed_energy_in_top: float
    curvature_along_gradient: float
    curvature_along_step: float
    curvature_along_removed: float
    cosine: float
    layers: dict


def measure(curvature, x, y, spectrum, optimizer=None, batch_size=None):
    """Compares the projection with the leading eigenvectors on the same data.

    The gradient is that of the curvature's own loss, in inference mode. No weight and no state of
    the optimizer changes.

    Args:
        curvature: a `keras_dep.Hessian` or `keras_dep.GaussNewton`.
        x: inputs, as for `curvature.at`.
        y: targets.
        spectrum: what `curvature.spectrum(x, y, vectors=True)` gave for them.
        optimizer: the `DEP` whose choice of weights is followed; any other leaves the usual choice.
        batch_size: as for `curvature.at`.

    Returns:
        An `Alignment`.

    Raises:
        ValueError: a spectrum without vectors, or a gradient that is not finite.

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


def _measured(curvature, x, y, spectrum, optimizer, batch_size):
    gradient = curvature.gradient(x, y, batch_size)
    before = curvature.by_weight(gradient)
    projection = _projection(optimizer, curvature.weights)
    rest = projection.transform(list(before.values()), curvature.weights)
    step = ops.concatenate([ops.reshape(part, (-1,)) for part in rest])
    removed = gradient - step
    product = curvature.at(x, y, batch_size)
    energies = [_energy_within(vector, spectrum.vectors) for vector in (gradient, step, removed)]
    # What rounding left of a gradient is no direction.
    scale = inner(gradient, gradient)
    bends = [_bend(product, vector, scale) for vector in (gradient, step, removed)]
    sharpest = spectrum.vectors[int(np.argmax(np.abs(spectrum.eigenvalues)))]
    cosine = _cosine(removed, sharpest)
    parts = (before, curvature.by_weight(removed), curvature.by_weight(sharpest))
    layers = {
        path: _layer(*(part[path] for part in parts))
        for path in curvature.shapes
        if path in projection.projected_paths
    }
    return Alignment(*energies, *bends, cosine, layers)


def _projection(optimizer, weights):
    """A DEP of its own, so that what a training one recorded stays."""
    options = {}
    if isinstance(optimizer, DEP):
        names = ("rank_one", "exclude", "output_axes")
        options = {name: getattr(optimizer, name) for name in names}
    projection = DEP(keras.optimizers.SGD(0.0), **options)
    with warnings.catch_warnings(action="ignore"):
        projection.build(weights)
    return projection


def _layer(gradient, removed, sharpest):
    energy = inner(gradient, gradient)
    return {
        "cosine": _cosine(removed, sharpest),
        "chance": math.sqrt(2 / (math.pi * math.prod(sharpest.shape))),
        "sharpest_energy": inner(sharpest, sharpest),
        "removed_energy": inner(removed, removed) / energy if energy else 0.0,
    }


def _energy_within(vector, basis):
    total = inner(vector, vector)
    return sum(inner(vector, q) ** 2 for q in basis) / total if total else 0.0


def _bend(product, vector, scale):
    total = inner(vector, vector)
    return inner(product(vector), vector) / total if total > 1e-12 * scale else 0.0


def _cosine(one, other):
    lengths = math.sqrt(inner(one, one) * inner(other, other))
    return abs(inner(one, other)) / lengths if lengths else 0.0
