"""A value that is not finite makes outputs and gradients of its own sample not finite."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import IF
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import DirectEncoding
from keras_dep import FoldTime
from keras_dep import Integrator
from keras_dep import LatencyEncoding
from keras_dep import RateEncoding
from keras_dep import UnfoldTime
from keras_dep import models
from keras_dep import surrogates
from keras_dep.layers import DLIF
from keras_dep.layers import EvolutionaryLeakLIF
from keras_dep.layers import FrequencyEncoding
from keras_dep.layers import GuardedLIF
from keras_dep.layers import MergedBatchNormalization
from keras_dep.layers import StepwiseBatchNormalization
from keras_dep.layers import StochasticGate
from keras_dep.layers import SupportPenaltyLIF
from keras_dep.layers import ThresholdAdaptingLIF
from keras_dep.layers import ThresholdDependentBatchNormalization
from keras_dep.layers import TimeSharedDropout
from keras_dep.layers.convolution import Conv2D
from keras_dep.layers.pooling import AveragePooling2D
from keras_dep.layers.pooling import PooledTo
from keras_dep.layers.residual import SkipInit
from keras_dep.layers.residual import WeightedSum
from keras_dep.layers.weight_standardization import ScaledStandardizedConv2D
from tests.support import native

BATCH, UNITS, STEP = 3, 2, 2
VALUES = pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)


def neurons(steps):
    """Layers whose derivative depends on the potential, by name."""
    found = {
        "soft": LIF(steps, tau=2.0),
        "hard": LIF(steps, tau=2.0, reset="hard"),
        "learnt": PLIF(steps, shared_by="channel", learn_threshold=True),
        "recomputed": LIF(steps, recompute=True),
    }
    if steps > 4:
        return found
    cut = {"detach_reset": True, "detach_membrane": True}
    return {
        **found,
        "cut": LIF(steps, **cut),
        "cut hard": LIF(steps, reset="hard", **cut),
        "detached hard": LIF(steps, tau=2.0, reset="hard", detach_reset=True),
        "forgetful": LIF(steps, tau=1.0, reset="hard"),
        "integrate and fire": IF(steps, surrogate="rectangle"),
        "learnt hard": PLIF(steps, reset="hard", surrogate="arctan"),
        "by its primitive": LIF(steps, surrogate="tanh"),
        "half": LIF(steps, surrogate="sigmoid", dtype="mixed_float16"),
        "brain": LIF(steps, surrogate="piecewise_exponential", dtype="mixed_bfloat16"),
        "gains": DLIF(steps),
        "leaks": EvolutionaryLeakLIF(steps, tau=2.0),
        "adapting": ThresholdAdaptingLIF(steps),
        "adapting soft": ThresholdAdaptingLIF(steps, reset="soft", recompute=True),
        "guarded": GuardedLIF(steps, tau=2.0),
        "supported": SupportPenaltyLIF(steps, tau=2.0, reset="hard"),
    }


class SideBySide:
    """All layers in one program; layer `i` gets entry `i` of the inputs' second axis."""

    def __init__(self, layers, shape, weigh):
        inputs = keras.Input((len(layers), *shape))
        outputs = [layer(inputs[:, place]) for place, layer in enumerate(layers.values())]
        self.network, self.names = keras.Model(inputs, outputs), list(layers)

        def objective(y, outputs):
            return sum(ops.sum(weigh(ops.cast(output, "float32"))) for output in outputs)

        self.gradient = native.input_gradient(self.network, objective)

    def __call__(self, x):
        """By name, the outputs and the gradient of the sum of `weigh(outputs)`."""
        outputs = [np.asarray(o, "float32") for o in self.network.predict_on_batch(x)]
        gradient = self.gradient(ops.convert_to_tensor(x), ops.zeros(1))
        slopes = np.moveaxis(ops.convert_to_numpy(gradient), 1, 0)
        return dict(zip(self.names, zip(outputs, slopes)))


@pytest.fixture(scope="module", params=[4, 12])
def spiking(request):
    """A network short enough to be unrolled, and one long enough for a loop."""
    with pytest.MonkeyPatch.context() as patch:
        for table in ("_PRIMITIVES", "_DERIVATIVES", "_USUAL_WIDTHS"):
            patch.setattr(surrogates, table, dict(getattr(surrogates, table)))
        surrogates.register("tanh", primitive=lambda z: 0.5 * ops.tanh(z))
        layers = neurons(request.param)
        network = SideBySide(layers, (UNITS,), lambda spikes: spikes)
        shape = (request.param * BATCH, len(layers), UNITS)
        x = np.random.default_rng(0).normal(0.6, 0.5, shape).astype("float32")
        yield network, x, network(x)


@VALUES
def test_neurons(value, spiking):
    network, x, clean = spiking
    spoilt = x.copy()
    spoilt[STEP * BATCH + 1, :, 0] = value
    for name, after in network(spoilt).items():
        for what, one, other in zip(("spikes", "gradient"), after, clean[name]):
            message = f"{what} of {name}"
            one, other = (a.reshape(-1, BATCH, UNITS) for a in (one, other))
            assert np.isfinite(other).all(), message
            assert not np.isfinite(one[STEP:, 1, 0]).any(), message
            np.testing.assert_array_equal(one[:, [0, 2]], other[:, [0, 2]], message)
            np.testing.assert_array_equal(one[:, 1, 1], other[:, 1, 1], message)
            if what == "spikes":
                np.testing.assert_array_equal(one[:STEP, 1, 0], other[:STEP, 1, 0], message)
            elif name in ("soft", "learnt", "recomputed", "integrate and fire"):
                # The gradient flows through time.
                assert not np.isfinite(one[:STEP, 1, 0]).any(), message


@pytest.mark.parametrize("name", surrogates.names())
def test_surrogates(name):
    network = keras.Sequential(
        [keras.Input((3,)), keras.layers.Lambda(lambda x: surrogates.spike(x, name))]
    )
    x = np.array([[0.25, np.nan, -0.25], [np.inf, 0.0, -np.inf]], "float32")
    spikes = network.predict_on_batch(x)
    np.testing.assert_array_equal(spikes, [[1, np.nan, 0], [np.nan, 1, np.nan]])
    gradient = native.input_gradient(network, lambda y, s: s)(
        ops.convert_to_tensor(x), ops.zeros(1)
    )
    np.testing.assert_array_equal(np.isfinite(ops.convert_to_numpy(gradient)), np.isfinite(x))


@pytest.mark.parametrize("sign", [1, -1])
def test_large_finite_potentials_are_answers(sign):
    x = np.zeros((4, 2), "float32")
    x[:, 0] = sign * 1e38 / 4
    for layer in (LIF(4, tau=2.0), LIF(4, reset="hard"), IF(4, surrogate="arctan")):
        spikes = ops.convert_to_numpy(layer(x))
        assert (spikes == [[sign > 0, False]]).all()


def layers_of_maps():
    return {
        "integrator": Integrator(4, 2.0),
        "forgetful integrator": Integrator(4, 1.0),
        "direct": DirectEncoding(2),
        "rate": RateEncoding(2, seed=0),
        "poisson": RateEncoding(2, seed=0, law="poisson"),
        "latency": LatencyEncoding(3),
        "merged": MergedBatchNormalization(),
        "stepwise": StepwiseBatchNormalization(4),
        "threshold": ThresholdDependentBatchNormalization(),
        "dropout": TimeSharedDropout(0.5, 4),
        "average": AveragePooling2D(2),
        "grid": PooledTo(3),
        "convolution": Conv2D(2, 3, padding="same"),
        "product": Conv2D(2, 5, strides=4),
        "points": Conv2D(2, 1, strides=2),
        "standardised": ScaledStandardizedConv2D(2, 3),
        "gain": SkipInit(),
        "gate": StochasticGate(4, seed=0),
        "low pass": FrequencyEncoding(2),
        "low magnitude": FrequencyEncoding(2, (2, 1), "half_open", "magnitude"),
    }


@pytest.fixture(scope="module")
def plain():
    layers = layers_of_maps()
    network = SideBySide(layers, (5, 5, 2), ops.square)
    x = np.random.default_rng(0).random((4 * BATCH, len(layers), 5, 5, 2)).astype("float32")
    return network, x, network(x)


@VALUES
def test_every_other_layer(value, plain):
    network, x, clean = plain
    # Sample 1 at its last step, with time folded into the batch.
    row, others = 3 * BATCH + 1, np.arange(len(x)) % BATCH != 1
    spoilt = x.copy()
    spoilt[row, :, 2, 2] = value
    for name, (outputs, slopes) in network(spoilt).items():
        before, slopes_before = clean[name]
        assert np.isfinite(before).all() and np.isfinite(slopes_before).all(), name
        assert not np.isfinite(slopes[row, 2, 2]).any(), name
        # Encoders: each step separately.
        outputs, before = (a.reshape(-1, *x.shape[:1], *a.shape[1:]) for a in (outputs, before))
        assert all(not np.isfinite(step[row]).all() for step in outputs), name
        assert np.isfinite(np.delete(outputs, row, axis=1)).all(), name
        if name not in ("rate", "poisson", "gate"):
            np.testing.assert_array_equal(outputs[:, others], before[:, others], name)
            np.testing.assert_array_equal(slopes[others], slopes_before[others], name)


def test_a_sum_with_a_branch_that_is_not_finite():
    one, other = np.ones((2, 3), "float32"), np.full((2, 3), [[np.nan], [1.0]], "float32")
    total = ops.convert_to_numpy(ops.stop_gradient(WeightedSum()([one, other])))
    assert np.isnan(total[0]).all() and (total[1] == 1).all()


@pytest.mark.parametrize("encoder", ["direct", "rate", "latency"])
def test_a_pixel_that_is_not_finite_leaves_no_finite_logit(encoder):
    options = dict(input_shape=(8, 8, 1), num_classes=3, timesteps=2, encoder=encoder)
    network = models.build("vgg5", **options)
    x = np.random.default_rng(0).random((3, 8, 8, 1)).astype("float32")
    x[1, 2, 2] = np.nan
    logits = network.predict_on_batch(x)
    assert np.isnan(logits[1]).all() and np.isfinite(logits[[0, 2]]).all()


class Losses(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs["loss"])


@pytest.mark.parametrize("steps", [3, 12])
def test_training_ends_where_a_kernel_is_not_finite(steps):
    layers = [keras.layers.Dense(4), LIF(steps), keras.layers.Dense(3), LIF(steps, reset="hard")]
    network = keras.Sequential(
        [
            keras.Input((steps, 5)),
            FoldTime(steps),
            *layers,
            keras.layers.Dense(3),
            UnfoldTime(steps),
        ]
    )
    network.layers[1].kernel.assign(np.full((5, 4), np.nan))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("sgd", lambda y, logits: loss(y, ops.mean(logits, axis=1)))
    x, y = np.ones((6, steps, 5), "float32"), np.arange(6) % 3
    losses = Losses()
    callbacks = [losses, keras.callbacks.TerminateOnNaN()]
    network.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=callbacks)
    assert len(losses.seen) == 1 and np.isnan(losses.seen[0])
    assert all(np.isnan(weight).any() for weight in network.get_weights())
