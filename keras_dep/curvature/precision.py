"""In which precision a network computes."""

import contextlib
import functools
import inspect

import keras

from keras_dep import _backend
from keras_dep._internal import keras_internals


@contextlib.contextmanager
def double_precision():
    """While it lasts, Keras computes with float64 tensors in double precision on every backend.

    Keras 3.15 gives each product of float64 tensors on torch and JAX the type float32, and JAX
    makes no float64 at all. What asks for a `dtype` (`keras_dep.Hessian`, `keras_dep.curvature`)
    enters this by itself; a network of `with_dtype` is built and called within it, and so is all
    other arithmetic on its results. Concerns the whole process, all threads; may be nested.

    Raises:
        RuntimeError: a Keras whose table of types is not where it was.

    Example:

    >>> with double_precision():
    ...     third = keras.ops.divide(keras.ops.ones((1,), "float64"), 3)
    >>> float(third[0]) == 1 / 3
    True
    """
    with _backend.double_precision():
        yield


@contextlib.contextmanager
def kept(dtype):
    """`double_precision()` where the dtype is float64; nothing otherwise."""
    with double_precision() if dtype == "float64" else contextlib.nullcontext():
        yield


def keeps_dtype(function):
    """`function`, which has an argument `dtype`, run within `kept(dtype)`."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run(*arguments, **options):
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        with kept(bound.arguments["dtype"]):
            return function(*arguments, **options)

    return run


def with_dtype(model, dtype):
    """A copy of a model, weights included, that computes in another precision.

    Args:
        model: a built functional or sequential `keras.Model`.
        dtype: `"float64"`, within `double_precision()`, or `"float32"`.

    Returns:
        A `keras.Model`; its weights do not follow those of `model`.

    Raises:
        ValueError: another dtype, float64 where Keras rounds it, or a model that Keras cannot
            rebuild layer by layer: a subclass, a quantized layer, one that wraps a torch module.

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
    """Layers and models in another precision, one of each however often it is used."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.made = {}

    def of(self, layer):
        if id(layer) not in self.made:
            self.made[id(layer)] = self._rebuilt(layer)
        return self.made[id(layer)]

    def _rebuilt(self, layer):
        if isinstance(layer, keras.Model):
            return self._model(layer)
        if getattr(getattr(layer, "dtype_policy", None), "quantization_mode", None):
            raise ValueError(f"layer {layer.name!r} is quantized")
        if isinstance(layer, keras.layers.Lambda):
            # Its configuration holds code without what surrounds it.
            given = {"mask": layer.mask, "arguments": layer.arguments, "name": layer.name}
            shape = keras_internals.lambda_output_shape(layer)
            return type(layer)(layer.function, shape, dtype=self.dtype, **given)
        config = self._in_dtype(layer.get_config())
        if isinstance(layer, keras.layers.Layer):
            config["dtype"] = self.dtype
        if isinstance(layer, keras.layers.Wrapper):
            # The layer within may be one that the network also uses elsewhere.
            return type(layer)(**{**config, "layer": self.of(layer.layer)})
        return type(layer).from_config(config)

    def _model(self, model):
        # Inputs that kept their dtype would round what reaches a network, also one within another.
        def entrance(tensor):
            kind = self.dtype if _is_real(tensor.dtype) else tensor.dtype
            return keras.Input(batch_shape=tensor.shape, dtype=kind, name=tensor.name)

        entrances = model.inputs if isinstance(model, keras.Sequential) else model.input
        inputs = keras.tree.map_structure(entrance, entrances)
        return keras.models.clone_model(model, inputs, self.of)

    def _in_dtype(self, config):
        """A configuration, those of layers inside of it included, in which what is real is ours."""
        if isinstance(config, (list, tuple)):
            return type(config)(map(self._in_dtype, config))
        if not isinstance(config, dict):
            return config
        policies = {"dtype", "dtype_policy"}
        return {
            key: self.dtype if key in policies and _is_real(entry) else self._in_dtype(entry)
            for key, entry in config.items()
        }


def _is_real(dtype):
    """Whether a dtype, a policy, or the configuration of one, is of floating point."""
    if isinstance(dtype, dict):
        dtype = dtype.get("config", {}).get("name")
    return "float" in getattr(dtype, "name", str(dtype))
