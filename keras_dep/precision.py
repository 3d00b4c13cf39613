"""In which precision a network computes."""

import contextlib
import functools
import inspect

import keras

from keras_dep import _backend


@contextlib.contextmanager
def double_precision():
    """While it lasts, Keras computes with float64 tensors in double precision on every backend.

    Keras 3.15 gives each product of float64 tensors on torch and JAX the type float32, and JAX
    makes no float64 at all. What asks for a `dtype` (`keras_dep.Hessian`, `keras_dep.spectrum`)
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
            rebuild layer by layer.

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
            "within keras_dep.double_precision()."
        )
    try:
        copy = _rebuilt(model, dtype)
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"model must be functional or sequential to be copied in {dtype}; received "
            f"{model.name!r}; build it under keras.config.set_floatx({dtype!r}) instead."
        ) from error
    copy.set_weights(model.get_weights())
    return copy


def _rebuilt(layer, dtype):
    if not isinstance(layer, keras.Model):
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    # Inputs that kept their dtype would round what reaches a network, also one within another.
    def entrance(tensor):
        is_real = "float" in keras.backend.standardize_dtype(tensor.dtype)
        kind = dtype if is_real else tensor.dtype
        return keras.Input(batch_shape=tensor.shape, dtype=kind, name=tensor.name)

    entrances = layer.inputs if isinstance(layer, keras.Sequential) else layer.input
    inputs = keras.tree.map_structure(entrance, entrances)
    return keras.models.clone_model(layer, inputs, lambda inner: _rebuilt(inner, dtype))
