"""Whole Hessians against `jax.hessian` in double precision of twins written in JAX."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import GaussNewton
from keras_dep import Hessian
from keras_dep import MeanLogitCrossentropy
from keras_dep import UnfoldTime

if keras.backend.backend() != "jax":
    pytest.skip("the peer is a JAX function", allow_module_level=True)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

FEATURES, HIDDEN, CLASSES, TIMESTEPS, BATCH, DECAY = 5, 4, 3, 3, 12, 0.5


def smooth(current):
    return jnp.tanh(current)[None]


@jax.custom_jvp
def fires(distance):
    """A step whose derivative is that of `sigmoid(4 x)`."""
    return (distance >= 0).astype(distance.dtype)


@fires.defjvp
def _(primals, tangents):
    return fires(*primals), tangents[0] * jnp.cosh(2 * primals[0]) ** -2


def spiking(current):
    membrane, spikes = 0.0, []
    for _ in range(TIMESTEPS):
        membrane = DECAY * membrane + current
        spikes.append(fires(membrane - 1.0))
        membrane = membrane - spikes[-1]
    return jnp.stack(spikes)


def network(neurons):
    keras.utils.set_random_seed(4)
    lif = LIF(TIMESTEPS, decay=DECAY, surrogate="sigmoid", width=0.25)
    body = {
        smooth: [keras.layers.Dense(HIDDEN, activation="tanh"), keras.layers.Dense(CLASSES)],
        spiking: [
            keras.layers.Dense(HIDDEN, kernel_initializer="he_normal"),
            DirectEncoding(TIMESTEPS),
            lif,
            keras.layers.Dense(CLASSES),
            UnfoldTime(TIMESTEPS),
        ],
    }[neurons]
    return keras.Sequential([keras.Input((FEATURES,)), *body])


@pytest.mark.parametrize("neurons", [smooth, spiking])
def test_all_eigenvalues(neurons):
    model = network(neurons)
    weights = model.get_weights()
    ends = np.cumsum([weight.size for weight in weights])[:-1]
    draw = np.random.default_rng(2)
    x, y = draw.standard_normal((BATCH, FEATURES)), draw.integers(0, CLASSES, BATCH)

    def logits(flat):
        parts = [p.reshape(w.shape) for p, w in zip(jnp.split(flat, ends), weights)]
        kernel, bias, kernel_out, bias_out = parts
        return jnp.mean(neurons(x @ kernel + bias) @ kernel_out + bias_out, axis=0)

    def loss(outputs):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], axis=1)
        return -jnp.mean(chosen)

    with jax.enable_x64(True):
        flat = jnp.asarray(np.concatenate([w.ravel() for w in weights]), "float64")
        answer = np.asarray(logits(flat))
        jacobian = jax.jacobian(logits)(flat)
        bends = jax.hessian(loss)(logits(flat))
        expected = {
            Hessian: np.asarray(jax.hessian(lambda flat: loss(logits(flat)))(flat)),
            GaussNewton: np.einsum("ncw,ncmd,mdv->wv", jacobian, bends, jacobian),
        }
    x = x.astype("float32")
    outputs = ops.convert_to_numpy(model(x)).reshape(BATCH, -1, CLASSES).mean(axis=1)
    np.testing.assert_allclose(outputs, answer, atol=1e-5)
    for kind, matrix in expected.items():
        operator = kind(model, MeanLogitCrossentropy())
        product = operator.at(x, y.astype("int32"))
        unit = np.eye(operator.dimension, dtype="float32")
        found = np.stack([ops.convert_to_numpy(product(ops.convert_to_tensor(e))) for e in unit])
        scale = np.abs(matrix).max()
        np.testing.assert_allclose(found, matrix, rtol=1e-4, atol=1e-6 * scale)
        values = np.linalg.eigvalsh(found.astype("float64"))
        np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-4, atol=2e-6 * scale)
