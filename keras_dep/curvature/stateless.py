"""A model's outputs, losses and penalties as functions of the values of its variables."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.curvature import precision


class Stateless:
    """A function of a model's inputs and of the values of its variables.

    Args:
        model: a built `keras.Model`.
        weights: those of its variables that are differentiated.
        dtype: precision of a copy of the model to compute with; `None` uses the model.

    Attributes:
        dtype: dtype in which the weights are differentiated.

    Raises:
        ValueError: no weights, or a model that cannot be copied in that dtype.
    """

    def __init__(
        self, model: keras.Model, weights: Sequence[keras.Variable], dtype: str | None = None
    ) -> None:
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
        self._constants = [source for source, _ in rest]
        self._own_constants = [variable for _, variable in rest]
        self.dtype = np.result_type(*map(_numpy_dtype, self._own_weights)).name

    def values(self) -> tuple[list[Tensor], list[Tensor]]:
        """Copies the current values of the weights and of the other variables.

        Returns:
            `(weights, constants)`, lists of tensors.
        """
        weights = [_copied(weight, self.dtype) for weight in self._weights]
        pairs = zip(self._constants, self._own_constants)
        return weights, [_copied(constant, own.dtype) for constant, own in pairs]

    def __call__(
        self, weights: Sequence[Tensor], constants: Sequence[Tensor], x: ArrayLike
    ) -> tuple[Tensor, list[Tensor]]:
        """Computes the outputs in inference mode.

        Args:
            weights: values of the weights, as returned by `values`.
            constants: values of the other variables.
            x: inputs.

        Returns:
            `(outputs, losses)`; losses are the list of those that layers add.
        """
        variables = [*self._own_weights, *self._own_constants]
        pairs = list(zip(variables, [*weights, *constants], strict=True))
        return _backend.stateless_outputs(self._model, pairs, x)

    def penalties(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Computes the penalties of the weights' regularizers."""
        pairs = zip(self._own_weights, weights)
        return [own.regularizer(value) for own, value in pairs if own.regularizer is not None]


def _copied(variable: keras.Variable, dtype: str) -> Tensor:
    value = ops.stop_gradient(ops.convert_to_tensor(variable.value))
    return ops.cast(ops.copy(value), dtype)


def _numpy_dtype(weight: keras.Variable) -> str:
    # NumPy has no bfloat16: the vectors have single precision then.
    dtype = keras.backend.standardize_dtype(weight.dtype)
    return dtype if dtype == "float64" else "float32"
