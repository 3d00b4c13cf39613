"""Alignment against NumPy: singular components, dense eigenvectors, quadratic forms."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import DEP
from keras_dep import Hessian
from keras_dep.curvature import alignment

# One shape for both kernels: one compilation.
FEATURES = HIDDEN = OUTPUTS = 4


@pytest.fixture(scope="module")
def problem():
    keras.utils.set_random_seed(1)
    body = [layers.Dense(HIDDEN, activation="tanh"), layers.Dense(OUTPUTS)]
    model = keras.Sequential([keras.Input((FEATURES,)), *body])
    draw = np.random.default_rng(0)
    x = draw.standard_normal((12, FEATURES)).astype("float32")
    y = draw.standard_normal((12, OUTPUTS)).astype("float32")
    hessian = Hessian(model, "mse")
    return hessian, x, y, hessian.spectrum(x, y, count=3, tolerance=1e-5, vectors=True)


def reference(hessian, x, y, projected=lambda path: "kernel" in path):
    """`(g, p, H, q)` in NumPy: removed components by SVD, eigenvectors of the dense matrix."""
    gradient = ops.convert_to_numpy(hessian.gradient(x, y)).astype("float64")
    step, start = gradient.copy(), 0
    for path, shape in hessian.shapes.items():
        size = int(np.prod(shape))
        if projected(path):
            u, s, vt = np.linalg.svd(gradient[start : start + size].reshape(shape))
            step[start : start + size] -= (s[0] * np.outer(u[:, 0], vt[0])).ravel()
        start += size
    product = hessian.at(x, y)
    unit = np.eye(hessian.dimension, dtype="float32")
    matrix = np.stack([ops.convert_to_numpy(product(ops.convert_to_tensor(e))) for e in unit])
    values, vectors = np.linalg.eigh(matrix.astype("float64"))
    return gradient, step, matrix, vectors[:, np.argsort(-np.abs(values))[:3]]


def assert_equal(found, hessian, gradient, step, matrix, top):
    removed = gradient - step
    names = ("gradient", "step", "removed")
    for name, vector in zip(names, (gradient, step, removed)):
        energy = np.sum((vector @ top) ** 2) / (vector @ vector)
        bend = vector @ matrix @ vector / (vector @ vector)
        assert getattr(found, f"{name}_energy_in_top") == pytest.approx(energy, rel=1e-3, abs=1e-4)
        assert getattr(found, f"curvature_along_{name}") == pytest.approx(bend, rel=1e-3)
    cosine = abs(removed @ top[:, 0]) / np.linalg.norm(removed)
    assert found.cosine == pytest.approx(cosine, rel=1e-3)
    start = 0
    for path, shape in hessian.shapes.items():
        part = slice(start, start + int(np.prod(shape)))
        start = part.stop
        if path in found.layers:
            layer, q, r = found.layers[path], top[part, 0], removed[part]
            cosine = abs(r @ q) / np.linalg.norm(r) / np.linalg.norm(q)
            assert layer["cosine"] == pytest.approx(cosine, rel=1e-3)
            assert layer["sharpest_energy"] == pytest.approx(q @ q, rel=1e-3)
            g = gradient[part]
            assert layer["removed_energy"] == pytest.approx((r @ r) / (g @ g), rel=1e-3)


def test_equals_the_dense_computation(problem):
    hessian, x, y, spectrum = problem
    found = alignment.measure(hessian, x, y, spectrum)
    assert list(found.layers) == [path for path in hessian.shapes if "kernel" in path]
    assert_equal(found, hessian, *reference(hessian, x, y))


def test_follows_the_choice_of_the_training_optimizer_and_leaves_it_alone(problem):
    hessian, x, y, spectrum = problem
    first, last = [weight for weight in hessian.weights if "kernel" in weight.path]
    optimizer = DEP("sgd", exclude=last)
    optimizer.build(hessian.weights)
    optimizer.removed_energy.assign([0.25])
    found = alignment.measure(hessian, x, y, spectrum, optimizer, batch_size=5)
    assert list(found.layers) == [first.path]
    assert_equal(found, hessian, *reference(hessian, x, y, lambda path: path == first.path))
    assert float(optimizer.removed_energy[0]) == 0.25


def test_chance_is_the_mean_of_random_directions(problem):
    hessian, x, y, spectrum = problem
    found = alignment.measure(hessian, x, y, spectrum)
    (path, layer), *_ = found.layers.items()
    size = int(np.prod(hessian.shapes[path]))
    draws = np.random.default_rng(0).standard_normal((4000, size))
    cosines = np.abs(draws[:, 0]) / np.linalg.norm(draws, axis=1)
    assert layer["chance"] == pytest.approx(cosines.mean(), rel=0.05)


def test_edges(problem):
    hessian, x, y, _ = problem
    with pytest.raises(ValueError, match="ask for vectors=True"):
        alignment.measure(hessian, x, y, hessian.spectrum(x, y, count=1))
    # A perfect fit has no gradient.
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, kernel_initializer="zeros")])
    perfect = Hessian(model, "mse")
    x, y = np.eye(4, dtype="float32"), np.zeros((4, 3), "float32")
    found = alignment.measure(perfect, x, y, perfect.spectrum(x, y, vectors=True))
    assert found.cosine == found.gradient_energy_in_top == found.curvature_along_step == 0
