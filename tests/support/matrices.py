"""Matrices whose spectrum is known, and their products."""

import numpy as np
from keras import ops

MIXED = np.linspace(-3, 5, 40)
COMPETING = np.concatenate([[7.0, -6.9, 5.0, -4.0, 3.0], np.linspace(-1, 1, 35)])
DECAYING = np.concatenate([[50.0, -20.0, 10.0], 0.1 * np.linspace(-1, 2, 37)])


def symmetric(values, seed=0):
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return ((basis * values) @ basis.T).astype("float32")


def product(matrix):
    tensor = ops.convert_to_tensor(matrix)
    return lambda vector: ops.matmul(tensor, vector)
