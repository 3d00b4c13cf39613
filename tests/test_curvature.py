"""Hessian products against closed forms and against the dense matrix they make up."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import Hessian
from keras_dep import MeanLogitCrossentropy


def dense_matrix(hessian, x, y):
    product = hessian.at(x, y)
    unit = np.eye(hessian.dimension, dtype="float32")
    return np.stack([ops.convert_to_numpy(product(ops.convert_to_tensor(row))) for row in unit])


def softmax_regression():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    draw = np.random.default_rng(0)
    return model, draw.standard_normal((6, 4)).astype("float32"), draw.integers(0, 3, 6)


def test_softmax_regression_has_the_closed_form():
    model, x, y = softmax_regression()
    found = dense_matrix(Hessian(model, MeanLogitCrossentropy()), x, y.astype("int32"))
    weights = model.get_weights()[0].astype("float64")
    logits = x @ weights
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = np.zeros((12, 12))
    for row, q in zip(x.astype("float64"), p):
        expected += np.kron(np.outer(row, row), np.diag(q) - np.outer(q, q)) / len(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_spiking_network_is_symmetric_and_lanczos_finds_its_extremes():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6),
            LIF(2, surrogate="arctan"),
            keras.layers.Dense(3),
        ]
    )
    draw = np.random.default_rng(1)
    x, y = draw.standard_normal((10, 4)).astype("float32"), draw.integers(0, 3, 10).astype("int32")
    before = model.get_weights()
    hessian = Hessian(model, MeanLogitCrossentropy())
    matrix = dense_matrix(hessian, x, y)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    values = np.linalg.eigvalsh(matrix.astype("float64"))
    expected = values[np.argsort(-np.abs(values))][:3]
    found = hessian.spectrum(x, y, count=3, tolerance=1e-4)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-3, atol=1e-4)
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_weights_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()], name="bare")
    with pytest.raises(ValueError, match="'bare' has no trainable weights"):
        Hessian(model, MeanLogitCrossentropy())
