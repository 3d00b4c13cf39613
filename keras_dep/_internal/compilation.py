"""What a compiled function of a model holds as constants, and when it must be compiled anew.

Tracing reads the attributes of layers once: `layer.threshold = 2.0` afterwards changes no function
that is compiled already, ours or Keras'.
"""

import dataclasses
import functools
import types
import weakref

import keras
import numpy as np
from keras import ops

from keras_dep._internal import keras_internals

_COMPILED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_PREDICTS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def constants(model):
    """What tracing a model bakes in, as a value that is equal as long as none of it changes.

    Counted are, of the model and the layers in it at any depth: attributes that are numbers, texts,
    arrays or containers and dataclasses of them, by value; other public attributes, such as
    activations, by identity; whether each is trainable; and dtype policies. So are the variables,
    not their values. Behind functions and other objects it does not look.

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


def compiled_once(model, key, build):
    """`build(traced)`, once for each model and key while the model's `constants` stay as they are.

    Args:
        model: a built `keras.Model`. The function must not refer to it, but by `weakref.proxy`.
        key: hashable value of all else that decides what the function computes.
        build: function of `traced`, a function that is to be called where a trace ends: what the
            model's own call sets on its layers is then no reason to compile again.
    """
    kept, now = _COMPILED.setdefault(model, {}), constants(model)
    if key not in kept or kept[key][0] != now:
        reference = weakref.ref(model)

        def traced():
            kept[key][0] = constants(reference())

        kept[key] = [now, None]
        kept[key][1] = build(traced)
    return kept[key][1]


def heed_changes(model):
    """Makes `model.predict_on_batch` answer by the model as it is now.

    Keras compiles the function behind it once and forgets it in `compile` alone. Here it is let go
    where `constants` have changed since, or where nobody knows what it was compiled with.
    """
    now, known = constants(model), _PREDICTS.get(model)
    function = model.predict_function
    if function is None or known is None or known[0]() is not function or known[1] != now:
        model.predict_function = None
        _PREDICTS[model] = weakref.ref(model.make_predict_function() or model.predict_function), now


def value(thing):
    """A hashable value for an attribute: equal for equal plain values, by identity for others."""
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, np.generic)):
        # 1, 1.0 and True are equal, and a NaN is not equal to itself.
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
    # To TensorFlow a variable is a tensor too.
    if ops.is_tensor(thing) and not isinstance(thing, (keras.KerasTensor, keras.Variable)):
        try:
            return value(ops.convert_to_numpy(thing))
        except Exception:
            # Left behind by a trace.
            return type(thing)
    return _Same(thing)


class _Same:
    """Equal for the same object, which it does not keep alive where that can be helped."""

    def __init__(self, thing):
        self.number = id(thing)
        try:
            self.reference = weakref.ref(thing)
        except TypeError:
            self.reference = lambda: thing

    def __eq__(self, other):
        if not isinstance(other, _Same) or self.number != other.number:
            return False
        thing = self.reference()
        return thing is not None and thing is other.reference()

    def __hash__(self):
        return self.number


def _of_layer(layer):
    bookkeeping, usual = _bookkeeping(isinstance(layer, keras.Model)), type(layer)
    return (
        _Same(layer),
        layer.trainable,
        value(layer.dtype_policy),
        *(
            (name, value(thing))
            for name, thing in vars(layer).items()
            # What a class has for all its layers is no news where one of them repeats it.
            if name not in bookkeeping
            and thing is not getattr(usual, name, bookkeeping)
            and (name[0] != "_" or _is_plain(thing))
        ),
    )


def _is_plain(thing):
    """Whether a private attribute may be a setting: Keras keeps objects and lists of its own."""
    if isinstance(thing, tuple):
        return all(map(_is_plain, thing))
    return thing is None or isinstance(thing, (bool, int, float, complex, str, np.generic))


@functools.cache
def _bookkeeping(model):
    """Names that any layer, or any model, has without a class of its own."""
    bare = keras.Model() if model else keras.layers.Layer()
    return frozenset(vars(bare)) | keras_internals.BOOKKEEPING
