"""Projections and sums of flat vectors against NumPy, with their arguments left alone."""

import numpy as np
from keras import ops

from keras_dep.curvature import flat_vectors

SIZE, COUNT = 50, 4


def test_projection_and_sum():
    draw = np.random.default_rng(0)
    basis = np.linalg.qr(draw.standard_normal((SIZE, COUNT)))[0].T.astype("float32")
    vector = draw.standard_normal(SIZE).astype("float32")
    tensor, units = ops.convert_to_tensor(vector), [ops.convert_to_tensor(unit) for unit in basis]
    rest = ops.convert_to_numpy(flat_vectors.orthogonalize(tensor, units))
    np.testing.assert_allclose(rest, vector - basis.T @ (basis @ vector), atol=1e-6)
    np.testing.assert_allclose(basis @ rest, 0, atol=1e-6)
    total = ops.convert_to_numpy(flat_vectors.combination(np.array([2.0, -1.0, 0.5, 0.0]), units))
    np.testing.assert_allclose(total, 2 * basis[0] - basis[1] + basis[2] / 2, atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(tensor), vector)
    for unit, row in zip(units, basis):
        np.testing.assert_array_equal(ops.convert_to_numpy(unit), row)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(flat_vectors.orthogonalize(tensor, [])), vector
    )
