"""A model's outputs, loss and penalties as functions of the values of its variables."""

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep.curvature import precision


class Stateless:
    """A model whose variables are arguments, as `values` gives them.

    Args:
        model: a built `keras.Model`.
        weights: those of its variables that are differentiated.
        dtype: precision to compute in, by a copy of the model; `None`: that of the model.

    Attributes:
        dtype: dtype in which the weights are differentiated.

    Raises:
        ValueError: no weights, or a model that cannot be copied in that dtype.
    """

    def __init__(self, model, weights, dtype=None):
        if not weights:
            raise ValueError(
                f"The model {model.name!r} has no trainable weights; build it, or unfreeze a layer."
            )
        self._model, sources, own = model, model.variables, model.variables
        if dtype is not None:
            with precision.kept(dtype):
                self._model = precision.with_dtype(model, dtype)
            sources, own = model.weights, self._model.weights
        places = {id(source): variable for source, variable in zip(sources, own, strict=True)}
        self._weights, self._own_weights = weights, [places[id(weight)] for weight in weights]
        chosen = set(map(id, weights))
        rest = [
            (source, variable) for source, variable in zip(sources, own) if id(source) not in chosen
        ]
        self._constants, self._own_constants = zip(*rest) if rest else ((), ())
        self.dtype = np.result_type(*map(_numpy_dtype, self._own_weights)).name

    def values(self):
        """Copies of what the weights and the other variables are now: `(weights, constants)`."""
        weights = [_copied(weight, self.dtype) for weight in self._weights]
        pairs = zip(self._constants, self._own_constants)
        return weights, [_copied(constant, own.dtype) for constant, own in pairs]

    def __call__(self, weights, constants, x):
        """`(outputs, losses)` in inference mode; losses are those that layers add, a list."""
        variables = [*self._own_weights, *self._own_constants]
        pairs = list(zip(variables, [*weights, *constants], strict=True))
        return _backend.stateless_outputs(self._model, pairs, x)

    def penalties(self, weights):
        """What the regularizers of the weights give, a list."""
        pairs = zip(self._own_weights, weights)
        return [own.regularizer(value) for own, value in pairs if own.regularizer is not None]


def _copied(variable, dtype):
    value = ops.stop_gradient(ops.convert_to_tensor(variable.value))
    return ops.cast(ops.copy(value), dtype)


def _numpy_dtype(weight):
    # NumPy has no bfloat16; the vectors are single precision then.
    dtype = keras.backend.standardize_dtype(weight.dtype)
    return dtype if dtype == "float64" else "float32"
