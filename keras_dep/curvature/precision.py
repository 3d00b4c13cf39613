"""The precision in which a network computes."""

import contextlib
import functools
import inspect
from collections.abc import Callable
from collections.abc import Generator
from typing import Any
from typing import ParamSpec
from typing import TypeVar

import keras

from keras_dep import _backend
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@contextlib.contextmanager
def double_precision() -> Generator[None, None, None]:
    """Lets Keras compute with float64 tensors in double precision on every backend.

    By default, Keras 3.15 gives products of float64 tensors the type float32 on torch and JAX, and
    JAX creates no float64 tensors. Functions with an argument `dtype` (`keras_dep.Hessian`,
    `keras_dep.curvature`) use this context themselves. A network made by `with_dtype` must be built
    and called within it, and its results processed within it. The context applies to the whole
    process with all threads, and may be nested.

    Yields:
        Nothing.

    Example:

    >>> with double_precision():
    ...     third = keras.ops.divide(keras.ops.ones((1,), "float64"), 3)
    >>> float(third[0]) == 1 / 3
    True
    """
    with _backend.double_precision():
        yield


@contextlib.contextmanager
def kept(dtype: str | None) -> Generator[None, None, None]:
    """`double_precision()` if the dtype is float64, otherwise no change."""
    with double_precision() if dtype == "float64" else contextlib.nullcontext():
        yield


def keeps_dtype(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorates a function with an argument `dtype` to run within `kept(dtype)`."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        with kept(bound.arguments["dtype"]):
            return function(*arguments, **options)

    return run


def with_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """Copies a model and its weights to compute in another precision.

    Args:
        model: a built functional or sequential `keras.Model`.
        dtype: `"float64"`, within `double_precision()`, or `"float32"`.

    Returns:
        A `keras.Model` with weights of its own.

    Raises:
        ValueError: another dtype, float64 outside of `double_precision()`, or a model that Keras
            cannot rebuild layer by layer: a subclass, a quantized layer, a layer that wraps a torch
            module.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> with double_precision():
    ...     outputs = with_dtype(model, "float64")(keras.ops.ones((1, 3)))
    >>> keras.backend.standardize_dtype(outputs.dtype)
    'float64'
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64; received {dtype!r}.")
    if dtype == "float64" and keras.backend.result_type(dtype, dtype) != dtype:
        raise ValueError(
            "dtype float64 is rounded to float32 by Keras on this backend; build and call the copy "
            "within keras_dep.curvature.double_precision()."
        )
    try:
        copy = _Copies(dtype).of(model)
        copy.set_weights(model.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            "model must be functional or sequential, of layers that Keras can rebuild, to be "
            f"copied in {dtype}; received {model.name!r} ({reason}); build it under "
            f"keras.config.set_floatx({dtype!r}) instead."
        ) from error
    return copy


class _Copies:
    """Copies of layers and models in another precision; a shared layer is copied once."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.made: dict[int, keras.layers.Layer] = {}

    def of(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in self.made:
            self.made[id(layer)] = self._rebuilt(layer)
        return self.made[id(layer)]

    def _rebuilt(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return self._model(layer)
        if getattr(getattr(layer, "dtype_policy", None), "quantization_mode", None):
            raise ValueError(f"layer {layer.name!r} is quantized")
        if isinstance(layer, keras.layers.Lambda):
            # Its configuration holds the function's code without its globals.
            given = {"mask": layer.mask, "arguments": layer.arguments, "name": layer.name}
            shape = keras_internals.lambda_output_shape(layer)
            return type(layer)(layer.function, shape, dtype=self.dtype, **given)
        config = self._in_dtype(layer.get_config())
        if isinstance(layer, keras.layers.Layer):
            config["dtype"] = self.dtype
        if isinstance(layer, keras.layers.Wrapper):
            # The network may use the wrapped layer elsewhere too.
            return type(layer)(**{**config, "layer": self.of(layer.layer)})
        return type(layer).from_config(config)

    def _model(self, model: keras.Model) -> keras.Model:
        # Inputs of the old dtype would round the values that enter a network.
        def entrance(tensor: Tensor) -> Tensor:
            kind = self.dtype if _is_real(tensor.dtype) else tensor.dtype
            return keras.Input(batch_shape=tensor.shape, dtype=kind, name=tensor.name)

        entrances = model.inputs if isinstance(model, keras.Sequential) else model.input
        inputs = keras.tree.map_structure(entrance, entrances)
        return keras.models.clone_model(model, inputs, self.of)

    def _in_dtype(self, config: Any) -> Any:
        """A configuration, with those nested in it, whose floating-point dtypes are replaced."""
        if isinstance(config, (list, tuple)):
            return type(config)(map(self._in_dtype, config))
        if not isinstance(config, dict):
            return config
        policies = {"dtype", "dtype_policy"}
        return {
            key: self.dtype if key in policies and _is_real(entry) else self._in_dtype(entry)
            for key, entry in config.items()
        }


def _is_real(dtype: Any) -> bool:
    """Whether a dtype, a policy, or the configuration of one, is a floating-point type."""
    if isinstance(dtype, dict):
        dtype = dtype.get("config", {}).get("name")
    return "float" in getattr(dtype, "name", str(dtype))
