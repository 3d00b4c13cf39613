"""The retraction of SNN-RAT against its equation in float64."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import optimizers

BETA = 0.05


def retracted(matrix, beta=BETA):
    matrix = matrix.astype("float64")
    return (1 + beta) * matrix - beta * matrix @ matrix.T @ matrix


def built(layer, shape):
    layer.build((None, *shape))
    draw = np.random.default_rng(0)
    for weight in layer.trainable_variables:
        weight.assign(draw.standard_normal(weight.shape).astype("float32"))
    return layer


def step(layer, beta=BETA, rate=0.1):
    """Weights ahead of an update of ones, and behind it."""
    before = layer.get_weights()
    optimizer = optimizers.OrthogonalRetraction(keras.optimizers.SGD(rate), beta, seed=1)
    optimizer.build(layer.trainable_variables)
    optimizer.apply([ops.ones(weight.shape) for weight in layer.trainable_variables])
    return [each - np.float32(rate) for each in before], layer.get_weights()


@pytest.mark.parametrize(
    "layer, shape, outputs",
    [
        (keras.layers.Dense(5), (7,), (1,)),
        (keras.layers.Conv2D(4, 3), (8, 8, 2), (3,)),
        (keras.layers.Conv2DTranspose(4, 3), (8, 8, 3), (2,)),
    ],
    ids=["dense", "convolution", "transposed"],
)
def test_the_step_follows_the_update(layer, shape, outputs):
    (updated, bias), (kernel, same) = step(built(layer, shape))
    inputs = [axis for axis in range(updated.ndim) if axis not in outputs]
    order = [*outputs, *inputs]

    def rows(array):
        return array.transpose(order).reshape(array.shape[outputs[0]], -1)

    # The source has outputs as rows: W - W W^T W.
    np.testing.assert_allclose(rows(kernel), retracted(rows(updated)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(same, bias)


def test_a_wide_dense_kernel_retracts_a_random_share_of_its_outputs():
    layer = built(keras.layers.Dense(250, use_bias=False), (6,))
    optimizer = optimizers.OrthogonalRetraction(keras.optimizers.SGD(0.0), BETA, seed=1)
    kernels = [layer.get_weights()[0]]
    for _ in range(2):
        optimizer.apply([ops.zeros((6, 250))], layer.trainable_variables)
        kernels.append(layer.get_weights()[0])
    drawn = []
    for before, after in zip(kernels, kernels[1:]):
        drawn.append(np.flatnonzero((before != after).any(axis=0)))
        assert len(drawn[-1]) == int(0.3 * 250)
        # What is drawn is retracted together.
        expected = retracted(before[:, drawn[-1]].T).T
        np.testing.assert_allclose(after[:, drawn[-1]], expected, rtol=1e-4, atol=1e-4)
    assert set(drawn[0]) != set(drawn[1])


def test_steps_end_at_orthonormal_outputs():
    layer = built(keras.layers.Dense(3, use_bias=False), (6,))
    layer.kernel.assign(layer.kernel / 3)
    # Half a step is Newton's iteration for the closest orthonormal columns.
    optimizer = optimizers.OrthogonalRetraction(keras.optimizers.SGD(0.0), beta=0.5)
    for _ in range(15):
        optimizer.apply([ops.zeros((6, 3))], layer.trainable_variables)
    kernel = layer.get_weights()[0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(3), atol=1e-4)


def test_a_length_of_0_changes_nothing_and_others_are_limited():
    updated, found = step(built(keras.layers.Dense(5), (7,)), beta=0.0)
    for one, other in zip(updated, found, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\]; received -1; 0 changes"):
        optimizers.OrthogonalRetraction("sgd", -1)
