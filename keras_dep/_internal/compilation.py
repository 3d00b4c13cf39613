"""Recompiles functions of a model when the constants in them have changed.

Tracing reads the attributes of layers once: `layer.threshold = 2.0` afterwards does not change a
function that is compiled already, ours or Keras'.
"""

import dataclasses
import functools
import types
import weakref
from collections.abc import Callable
from collections.abc import Hashable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dep._internal import keras_internals

_COMPILED: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()
_PREDICTS: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()


def constants(model: keras.Model) -> Hashable:
    """Returns a value that changes when a constant of the model's compiled functions changes.

    It covers, for the model and its layers at any depth: attributes that are numbers, strings,
    arrays or containers and dataclasses of them, by value; other public attributes, such as
    activations, by identity; whether each is trainable; and dtype policies. It covers the variables
    by identity, not their values. It does not look inside functions and other objects.

    Args:
        model: a built `keras.Model`.

    Returns:
        A hashable value.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.LeakyReLU()])
    >>> before = constants(model)
    >>> model.layers[0].negative_slope = 0.1
    >>> constants(model) == before
    False
    """
    layers = [model, *keras_internals.all_layers(model, include_self=False)]
    variables = tuple(map(_Same, model.variables))
    return (*map(_of_layer, layers), variables, keras.config.image_data_format())


def compiled_once(
    model: keras.Model, key: Hashable, build: Callable[[Callable[[], None]], Any]
) -> Any:
    """Returns `build(traced)`, kept for each model and key until the model's `constants` change.

    Args:
        model: a built `keras.Model`. The result may refer to it only by `weakref.proxy`.
        key: hashable value of everything else that the function depends on.
        build: function of `traced`. Its result must call `traced()` at the end of each trace, so
            that attributes which the model's call sets on its layers do not cause a recompilation.

    Returns:
        The result of `build`.
    """
    kept, now = _COMPILED.setdefault(model, {}), constants(model)
    if key not in kept or kept[key][0] != now:
        reference = weakref.ref(model)

        def traced() -> None:
            kept[key][0] = constants(reference())

        kept[key] = [now, None]
        kept[key][1] = build(traced)
    return kept[key][1]


def heed_changes(model: keras.Model) -> None:
    """Makes `model.predict_on_batch` use the current attributes of the model's layers.

    Keras compiles its function once and drops it only in `compile`. This drops it too if
    `constants` have changed since, or if it was compiled before the first call of `heed_changes`.
    """
    now, known = constants(model), _PREDICTS.get(model)
    function = model.predict_function
    if function is None or known is None or known[0]() is not function or known[1] != now:
        model.predict_function = None
        _PREDICTS[model] = weakref.ref(model.make_predict_function() or model.predict_function), now


def value(thing: Any) -> Hashable:
    """Returns a hashable value of an attribute: plain values by value, others by identity."""
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, np.generic)):
        # Type and text tell 1, 1.0 and True apart, and make NaN equal to itself.
        return type(thing), repr(thing)
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.shape, thing.tobytes()
    if isinstance(thing, (list, tuple)):
        return "sequence", *map(value, thing)
    if isinstance(thing, (set, frozenset)):
        return "set", frozenset(map(value, thing))
    if isinstance(thing, dict):
        return "dict", *((value(key), value(entry)) for key, entry in thing.items())
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return type(thing), *((name, value(entry)) for name, entry in vars(thing).items())
    if isinstance(thing, types.MethodType):
        return _Same(thing.__self__), thing.__func__
    if isinstance(thing, keras.DTypePolicy):
        return type(thing), thing.name
    # In TensorFlow a variable is a tensor too.
    if ops.is_tensor(thing) and not isinstance(thing, (keras.KerasTensor, keras.Variable)):
        try:
            return value(ops.convert_to_numpy(thing))
        except Exception:
            # A symbolic tensor that a trace left behind has no values.
            return "symbolic", type(thing)
    return _Same(thing)


class _Same:
    """Compares an object by identity, and holds it weakly if its type allows that."""

    reference: Callable[[], Any]

    def __init__(self, thing: Any) -> None:
        self.number = id(thing)
        try:
            self.reference = weakref.ref(thing)
        except TypeError:
            self.reference = lambda: thing

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same) or self.number != other.number:
            return False
        thing = self.reference()
        return thing is not None and thing is other.reference()

    def __hash__(self) -> int:
        return self.number


def _of_layer(layer: keras.layers.Layer) -> Hashable:
    bookkeeping, usual = _bookkeeping(isinstance(layer, keras.Model)), type(layer)
    return (
        _Same(layer),
        layer.trainable,
        value(layer.dtype_policy),
        *(
            (name, value(thing))
            for name, thing in vars(layer).items()
            # Skip an attribute that equals the default of its class.
            if name not in bookkeeping
            and thing is not getattr(usual, name, bookkeeping)
            and (name[0] != "_" or _is_plain(thing))
        ),
    )


def _is_plain(thing: Any) -> bool:
    """Whether a private attribute may be a setting; Keras keeps objects and lists in others."""
    if isinstance(thing, tuple):
        return all(map(_is_plain, thing))
    return thing is None or isinstance(thing, (bool, int, float, complex, str, np.generic))


@functools.cache
def _bookkeeping(model: bool) -> frozenset[str]:
    """Names of the attributes that every layer, or every model, has."""
    bare = keras.Model() if model else keras.layers.Layer()
    return frozenset(vars(bare)) | keras_internals.BOOKKEEPING
