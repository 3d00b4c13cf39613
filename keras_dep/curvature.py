"""Curvature of a model's loss: its Hessian as an operator, and that operator's spectrum."""

import keras
import numpy as np

from keras_dep import _backend
from keras_dep import spectrum


class Hessian:
    """Products of vectors with the Hessian of a loss in a model's trainable weights.

    The model runs in inference mode (frozen normalisation statistics, no dropout). For a spiking
    network the derivatives are those of the surrogate program: symmetric, but not the Hessian of
    the piecewise constant loss, so compare networks under one surrogate only. Compiled once and
    kept; weights are read afresh at each `at`.

    Args:
        model: a built `keras.Model` with trainable weights.
        loss: a `keras.losses.Loss` with a mean reduction, or any function `(y, outputs) -> scalar`.

    Raises:
        ValueError: the model has no trainable weights.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    >>> hessian = Hessian(model, keras.losses.MeanSquaredError())
    >>> x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    >>> hessian.spectrum(x, y, count=1).eigenvalues.round(3).tolist()
    [10.0]
    """

    def __init__(self, model, loss):
        if not model.trainable_variables:
            raise ValueError(
                f"The model {model.name!r} has no trainable weights; build it, or unfreeze a layer."
            )
        self.dimension = sum(int(np.prod(w.shape)) for w in model.trainable_variables)
        self._bind = _backend.hessian_product(model, loss)

    def at(self, x, y):
        """The product function of a flat float32 vector, on one batch and the present weights."""
        return self._bind(keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y))

    def spectrum(self, x, y, count=5, tolerance=1e-3, max_steps=80, seed=0):
        """Eigenvalues of largest magnitude on one batch; see `keras_dep.spectrum.lanczos`."""
        return spectrum.lanczos(self.at(x, y), self.dimension, count, tolerance, max_steps, seed)
