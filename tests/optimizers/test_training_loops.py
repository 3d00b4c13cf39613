"""DEP in train steps and loops that users write, against the update in NumPy."""

import keras
import numpy as np
from keras import ops

from keras_dep import DEP
from keras_dep import Hessian
from tests.optimizers.test_optimizers import compiled_model
from tests.optimizers.test_optimizers import data
from tests.optimizers.test_optimizers import project
from tests.optimizers.test_optimizers import small_model

RATE = 0.1
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Louder(keras.Model):
    """Trains on images twice as strong."""

    def train_step(self, *arguments):
        *state, (x, y) = arguments
        return super().train_step(*state, (2 * x, y))


def gradients_of(model, x, y):
    """Gradients of all weights, in NumPy."""
    flat = ops.convert_to_numpy(Hessian(model, LOSS).gradient(x, y, len(x)))
    sizes = [variable.shape for variable in model.trainable_variables]
    ends = np.cumsum([int(np.prod(size)) for size in sizes])[:-1]
    return [part.reshape(size) for part, size in zip(np.split(flat, ends), sizes)]


def assert_projected_once(before, gradients, model):
    for old, gradient, new in zip(before, gradients, model.get_weights()):
        np.testing.assert_allclose(new, old - RATE * project(gradient), atol=1e-5)


def test_an_overridden_train_step():
    x, y = data()
    inner = small_model()
    model = Louder(inner.inputs[0], inner.outputs[0])
    before, gradients = model.get_weights(), gradients_of(model, 2 * x, y)
    model.compile(DEP(keras.optimizers.SGD(RATE)), LOSS)
    model.fit(x, y, batch_size=len(x), verbose=0)
    assert_projected_once(before, gradients, model)


def test_a_loop_of_ones_own():
    x, y = data()
    model, optimizer = small_model(), DEP(keras.optimizers.SGD(RATE))
    for _ in range(3):
        before, gradients = model.get_weights(), gradients_of(model, x, y)
        optimizer.apply(list(map(ops.convert_to_tensor, gradients)), model.trainable_variables)
        assert_projected_once(before, gradients, model)
    assert int(optimizer.iterations) == 3


def test_callbacks_read_what_each_step_removed():
    x, y = data()
    model, read = compiled_model(DEP(keras.optimizers.SGD(RATE))), []

    def look(batch, logs):
        optimizer = model.optimizer
        # Within an epoch Keras' variables on JAX lag behind the compiled step's.
        getattr(model, "jax_state_sync", lambda: None)()
        read.append(
            [ops.convert_to_numpy(v) for v in (optimizer.removed_energy, optimizer.leading_value)]
        )

    before = model.get_weights()
    expected = [np.linalg.svd(g, compute_uv=False) for g in gradients_of(model, x, y)[::2]]
    model.fit(
        x,
        y,
        batch_size=len(x),
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)],
    )
    assert any((old != new).any() for old, new in zip(before, model.get_weights()))
    ((shares, values),) = read
    np.testing.assert_allclose(shares, [s[0] ** 2 / np.sum(s**2) for s in expected], atol=1e-5)
    np.testing.assert_allclose(values, [s[0] for s in expected], rtol=1e-5)
