"""DEP around, inside and beside Keras' other optimizers, against them on gradients of NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import MultiOptimizer
from keras.optimizers import OptimizerMap

from keras_dep import DEP
from tests.optimizers.test_optimizers import apply
from tests.optimizers.test_optimizers import arrays
from tests.optimizers.test_optimizers import compiled_model
from tests.optimizers.test_optimizers import data
from tests.optimizers.test_optimizers import project

STEPS = [arrays(seed) for seed in (1, 2, 3)]
PROJECTED = [[project(gradient).astype("float32") for gradient in step] for step in STEPS]
INNER = {
    "Adam": {},
    "AdamW": {"weight_decay": 0.1},
    "Lion": {},
    "Adagrad": {},
    "Muon": {},
    "SGD": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
}


def trained(optimizer, steps):
    variables = [keras.Variable(w, name=f"weight_{i}") for i, w in enumerate(arrays(0))]
    for gradients in steps:
        apply(optimizer, gradients, variables)
    return [ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize("name", INNER)
def test_what_is_inside_receives_the_projected_gradient(name):
    def build():
        return getattr(keras.optimizers, name)(0.05, **INNER[name])

    found = trained(DEP(build()), STEPS)
    expected = trained(build(), PROJECTED)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_around_several_optimizers():
    def build():
        return MultiOptimizer(
            OptimizerMap(keras.optimizers.SGD(0.5), {".*2.*": keras.optimizers.Adam(0.1)})
        )

    found = trained(DEP(build()), STEPS)
    expected = trained(build(), PROJECTED)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_one_of_several_optimizers():
    x, y = data()
    plain = compiled_model(keras.optimizers.SGD(0.1))
    parts = OptimizerMap(keras.optimizers.SGD(0.1))
    both = compiled_model(MultiOptimizer(parts))
    parts[both.layers[0].kernel.path] = DEP(keras.optimizers.SGD(0.1))
    both.set_weights(plain.get_weights())
    before = plain.get_weights()
    for each in (plain, both):
        each.train_on_batch(x, y)
    steps = [[old - new for old, new in zip(before, m.get_weights())] for m in (plain, both)]
    np.testing.assert_allclose(steps[1][0], project(steps[0][0]), atol=1e-6)
    for one, other in zip(steps[0][1:], steps[1][1:]):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_bfloat16_needs_no_loss_scale():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    x, y = data()
    model = compiled_model(DEP(keras.optimizers.SGD(0.1)))
    before = model.get_weights()
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"]
    assert isinstance(model.optimizer, DEP)
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert all((one != other).any() for one, other in zip(before, model.get_weights()))
    shares = ops.convert_to_numpy(model.optimizer.removed_energy)
    assert ((shares > 0) & (shares < 1)).all()


def test_swap_ema_weights_finds_the_inner_optimizer():
    x, y = data()
    model = compiled_model(DEP(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    history = model.fit(
        x, y, epochs=2, batch_size=16, verbose=0, validation_data=(x, y), callbacks=[swap]
    )
    assert np.isfinite(history.history["val_loss"]).all()
