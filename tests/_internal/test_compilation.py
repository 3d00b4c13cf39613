"""What is baked into compiled functions is noticed when it changes, and nothing else is."""

import gc
import weakref

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep._internal import compilation
from keras_dep.layers import overrides

X, Y = np.linspace(0, 1, 24).reshape(6, 4).astype("float32"), np.arange(6) % 3


@keras.saving.register_keras_serializable("tests")
class Scaled(keras.Model):
    """Keeps a setting under a private name and counts its traces, as users' models do."""

    def __init__(self):
        super().__init__()
        self._scale = 2.0
        self.offsets = np.zeros(3, "float32")
        self.dense = keras.layers.Dense(3)
        self.traces = 0

    def call(self, inputs, training=None):
        self.traces += 1
        return self._scale * self.dense(inputs) + keras.ops.convert_to_tensor(self.offsets)


def functional():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.1)(keras.layers.Dense(5, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.BatchNormalization()(hidden)))


def sequential():
    body = [keras.Input((4,)), keras.layers.Normalization()]
    return keras.Sequential([*body, keras.layers.Dense(3), LIF(timesteps=1)])


def test_what_keras_does_with_a_model_changes_none_of_its_constants():
    # Fails where a new Keras keeps other books: name them in `keras_internals.BOOKKEEPING`.
    for model in (functional(), sequential()):
        before = compilation.constants(model)
        hash(before)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        model.fit(X, Y, validation_data=(X, Y), verbose=0)
        model.evaluate(X, Y, verbose=0)
        model.predict(X, verbose=0)
        model.predict_on_batch(X)
        model.train_on_batch(X, Y)
        model(X)
        model.set_weights(model.get_weights())
        model.summary(print_fn=lambda *_: None)
        assert compilation.constants(model) == before


def test_blocks_that_replace_a_rule_leave_the_constants_as_they_were():
    model = sequential()
    before = compilation.constants(model)
    with overrides.surrogate_in_place(model, "arctan"):
        assert compilation.constants(model) != before
    with overrides.estimator_in_place(model, lambda layer, currents: currents):
        assert compilation.constants(model) != before
    assert compilation.constants(model) == before


CHANGES = {
    "threshold": lambda model: setattr(model.layers[2], "threshold", 2.0),
    "tau": lambda model: setattr(model.layers[2], "tau", 3.0),
    "reset": lambda model: setattr(model.layers[2], "reset", "hard"),
    "type of a number": lambda model: setattr(model.layers[2], "threshold", 1),
    "activation": lambda model: setattr(model.layers[1], "activation", keras.activations.tanh),
    "statistics": lambda model: model.layers[0].adapt(X),
    "trainable": lambda model: setattr(model.layers[1], "trainable", False),
    "dtype": lambda model: setattr(model.layers[1], "dtype_policy", "mixed_bfloat16"),
    "another layer": lambda model: (model.pop(), model.add(LIF(timesteps=1))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_of_layers_are_noticed(change):
    model = sequential()
    before = compilation.constants(model)
    change(model)
    assert compilation.constants(model) != before


def test_settings_of_a_users_model_are_noticed():
    model = Scaled()
    model(X)
    for change in (
        lambda: setattr(model, "_scale", 3.0),
        lambda: model.offsets.__setitem__(0, 1.0),
        lambda: setattr(model, "offsets", np.zeros(3, "float64")),
    ):
        before = compilation.constants(model)
        assert compilation.constants(model) == before
        change()
        assert compilation.constants(model) != before


@pytest.mark.parametrize("attribute, new", [("_scale", 5.0), ("offsets", np.ones(3, "float32"))])
def test_predictions_heed_changes_and_compile_no_oftener(attribute, new):
    model = Scaled()
    model(X)
    # What was compiled before anybody looked counts too.
    model.predict_on_batch(X)
    setattr(model, attribute, new)
    compilation.heed_changes(model)
    found = keras.ops.convert_to_numpy(model.predict_on_batch(X))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(model(X)), rtol=1e-5, atol=1e-6)
    model = sequential()
    compilation.heed_changes(model)
    model.predict_on_batch(X)
    function = model.predict_function
    compilation.heed_changes(model)
    assert model.predict_function is function
    model.layers[2].threshold = 0.25
    compilation.heed_changes(model)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model.predict_on_batch(X)),
        keras.ops.convert_to_numpy(model(X)),
    )


def test_a_function_is_built_once_until_a_constant_changes():
    model, other, built = sequential(), sequential(), []

    def build(traced):
        built.append(traced)
        return object()

    first = compilation.compiled_once(model, "key", build)
    assert compilation.compiled_once(model, "key", build) is first
    assert compilation.compiled_once(model, "other key", build) is not first
    assert compilation.compiled_once(other, "key", build) is not first
    assert len(built) == 3
    model.layers[2].threshold = 2.0
    assert compilation.compiled_once(model, "key", build) is not first
    # What a trace itself does to a layer is no change.
    model.layers[2].traces = 1
    built[-1]()
    compilation.compiled_once(model, "key", build)
    assert len(built) == 4


def test_a_model_is_not_kept_alive():
    model = sequential()
    model.layers[1].activation = model.layers[1].compute_mask
    reference = weakref.ref(model)
    compilation.compiled_once(model, "key", lambda traced: object())
    compilation.heed_changes(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None
