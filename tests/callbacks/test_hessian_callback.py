"""The logged spectrum against `Hessian` and a dense matrix, and that logging changes nothing."""

import json
import time
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import Hessian
from keras_dep import distribution
from keras_dep.attacks import FGSM
from keras_dep.callbacks import HessianSpectrum
from keras_dep.curvature import alignment
from keras_dep.summaries import EventWriter
from keras_dep.training import PerturbedTraining
from tests.support.event_files import read_scalars

FEATURES, CLASSES, BATCH_SIZE, STEPS = 4, 3, 8, 5


def build(eager=True):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(5),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dropout(0.5, seed=1),
            layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=eager)
    return model


def data():
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (STEPS * BATCH_SIZE, FEATURES)).astype("float32")
    return x, draw.integers(0, CLASSES, len(x)).astype("int32")


def probe():
    x, y = data()
    return x[:16], y[:16]


def fit(model, *callbacks, epochs=2):
    x, y = data()
    return model.fit(x, y, BATCH_SIZE, epochs, 0, list(callbacks), shuffle=False)


def bits(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [ops.convert_to_numpy(variable.value).tobytes() for variable in variables]


def linear(loss="mse"):
    """Its mean squared error has the Hessian `2/n x^T x` wherever the weight stands."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
    return model


def linear_problem():
    x = np.random.default_rng(3).standard_normal((10, 3)).astype("float32")
    values = np.linalg.eigvalsh(2 / len(x) * x.T.astype("float64") @ x)[::-1]
    return x, np.ones((10, 1), "float32"), values


def test_weights_and_metrics_are_those_of_a_run_without_it():
    finals, histories = [], []
    for measured in (False, True):
        model = build(eager=False)
        spectrum = HessianSpectrum(*probe(), count=2, every=2)
        histories.append(fit(model, *([spectrum] if measured else [])).history)
        finals.append(bits(model))
    assert len(spectrum.history) > 2
    assert finals[0] == finals[1] and histories[0] == histories[1]


def test_eigenvalues_are_those_of_a_dense_matrix(tmp_path):
    x, y, values = linear_problem()
    model = linear(keras.losses.MeanSquaredError())
    with EventWriter(tmp_path) as writer:
        spectrum = HessianSpectrum(x, y, count=3, tolerance=1e-4, writer=writer)
        model.fit(x, y, batch_size=5, epochs=2, verbose=0, callbacks=[spectrum])
    assert [record["iteration"] for record in spectrum.history] == [2, 4]
    scalars = read_scalars(tmp_path)
    for record in spectrum.history:
        np.testing.assert_allclose(record["eigenvalues"], values, rtol=1e-4)
        assert record["spectral_radius"] == pytest.approx(values[0], rel=1e-4)
        assert record["leading_share"] == pytest.approx(values[0] / values.sum(), rel=1e-4)
        assert record["seconds"] > 0
    for rank, value in enumerate(values, start=1):
        steps, found = zip(*scalars.pop(f"hessian/lambda_{rank}"))
        assert steps == (2, 4)
        np.testing.assert_allclose(found, value, rtol=1e-4)
    for name in ("spectral_radius", "leading_share", "seconds"):
        expected = [(r["iteration"], pytest.approx(r[name])) for r in spectrum.history]
        assert scalars.pop(f"hessian/{name}") == expected
    assert not scalars


def test_eigenvalues_are_those_of_hessian_at_the_weights_of_the_moment():
    model, moments = build(), []

    class Moment(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            moments.append(self.model.get_weights())

    x, y = probe()
    spectrum = HessianSpectrum(x, y, count=3, every=3, tolerance=1e-3)
    fit(model, Moment(), spectrum)
    copy = build()
    hessian = Hessian(copy, copy.loss)
    assert [record["iteration"] for record in spectrum.history] == [3, 6, 9]
    for record in spectrum.history:
        copy.set_weights(moments[record["iteration"] - 1])
        expected = hessian.spectrum(x, y, count=3, tolerance=1e-3, max_steps=60)
        np.testing.assert_allclose(record["eigenvalues"], expected.eigenvalues, rtol=1e-5)
        assert record["spectral_radius"] == pytest.approx(expected.radius, rel=1e-5)
    radii = [record["spectral_radius"] for record in spectrum.history]
    assert len(set(radii)) == 3


@pytest.mark.parametrize(
    "every, epochs, iterations",
    [
        ("epoch", 3, [5, 10, 15]),
        (1, 1, [1, 2, 3, 4, 5]),
        (2, 2, [2, 4, 6, 8, 10]),
        # More steps than an epoch has.
        (7, 3, [7, 14]),
    ],
)
def test_every_so_many_steps_of_training(every, epochs, iterations):
    x, y, _ = linear_problem()
    spectrum = HessianSpectrum(x, y, every=every, count=1)
    model = linear(keras.losses.MeanSquaredError())
    model.fit(x, y, batch_size=2, epochs=epochs, verbose=0, callbacks=[spectrum])
    assert [record["iteration"] for record in spectrum.history] == iterations


def test_steps_are_counted_on_after_a_restart():
    x, y, _ = linear_problem()

    def spectrum():
        return HessianSpectrum(x, y, every=4, count=1)

    def train(callback, first_epoch, epochs):
        model.fit(x, y, 2, epochs, 0, [callback], initial_epoch=first_epoch)

    model = linear(keras.losses.MeanSquaredError())
    first, second = spectrum(), spectrum()
    train(first, 0, 1)
    second.set_state(json.loads(json.dumps(first.get_state())))
    train(second, 1, 3)
    assert [record["iteration"] for record in first.history] == [4]
    assert [record["iteration"] for record in second.history] == [4, 8, 12]


def test_loss_that_is_not_finite_is_reported_and_skipped(tmp_path):
    x, y, _ = linear_problem()
    broken = np.where(x > 1, np.nan, x)
    assert np.isnan(broken).any()
    model = linear(keras.losses.MeanSquaredError())
    with EventWriter(tmp_path) as writer:
        spectrum = HessianSpectrum(broken, y, writer=writer)
        with pytest.warns(UserWarning, match="Hessian spectrum skipped: .*not finite") as caught:
            model.fit(x, y, batch_size=5, epochs=2, verbose=0, callbacks=[spectrum])
    skipped = [str(w.message) for w in caught if "Hessian" in str(w.message)]
    assert len(skipped) == 2 and "\n" not in skipped[0]
    assert spectrum.history == [] and read_scalars(tmp_path) == {}
    assert spectrum.not_finite == [2, 4]
    resumed = HessianSpectrum(x, y)
    resumed.set_state(json.loads(json.dumps(spectrum.get_state())))
    assert resumed.not_finite == [2, 4]
    assert int(model.optimizer.iterations) == 4
    assert np.isfinite(model.get_weights()[0]).all()


def test_it_follows_the_model_in_fit():
    """Least squares of one input of two: of each model, loss and choice of weights its own."""
    x, y, _ = linear_problem()
    spectrum, wanted = HessianSpectrum(x, y, count=1, tolerance=1e-5), []

    def weighted(scale):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(1, use_bias=False, name="free"),
                layers.Rescaling(scale),
                layers.Dense(1, name="last"),
            ]
        )
        model.compile(keras.optimizers.SGD(0.0), keras.losses.MeanSquaredError())
        return model

    def measure(model):
        model.fit(x, y, batch_size=5, verbose=0, callbacks=[spectrum])
        expected = Hessian(model, model.loss).spectrum(x, y, 1, 1e-5)
        assert spectrum.history[-1]["eigenvalues"] == pytest.approx(expected.eigenvalues, rel=1e-5)
        wanted.append(expected.radius)

    one, other = weighted(1.0), weighted(2.0)
    measure(one)
    measure(other)
    one.get_layer("free").trainable = False
    one.compile(keras.optimizers.SGD(0.0), keras.losses.MeanSquaredError())
    measure(one)
    one.compile(keras.optimizers.SGD(0.0), keras.losses.Huber(0.1))
    measure(one)
    one.layers[1].scale = 3.0
    one.compile(keras.optimizers.SGD(0.0), one.loss)
    measure(one)
    assert min(abs(a - b) for n, a in enumerate(wanted) for b in wanted[:n]) > 1e-3
    assert len(spectrum.history) == 5


def test_another_network_and_loss_can_be_measured():
    x, y, values = linear_problem()
    network = linear()
    outer = PerturbedTraining(network, FGSM(epsilon=0.1))
    outer.compile(keras.optimizers.SGD(0.01), "mae", run_eagerly=True)
    loss = keras.losses.MeanSquaredError()
    spectrum = HessianSpectrum(x, y, loss=loss, network=network, count=3, tolerance=1e-4)
    outer.fit(x, y, batch_size=5, verbose=0, callbacks=[spectrum])
    np.testing.assert_allclose(spectrum.history[0]["eigenvalues"], values, rtol=1e-4)


def test_alignment_is_recorded_and_logged(tmp_path):
    x, y = probe()
    model = build()
    with EventWriter(tmp_path) as writer:
        spectrum = HessianSpectrum(x, y, count=2, align=True, batch_size=10, writer=writer)
        fit(model, spectrum, epochs=1)
    hessian = Hessian(model, model.loss)
    expected = alignment.measure(
        hessian, x, y, hessian.spectrum(x, y, count=2, tolerance=1e-2, vectors=True)
    )
    (record,) = spectrum.history
    scalars = read_scalars(tmp_path)
    for name, value in record["alignment"].items():
        if name == "layers":
            for path, layer in value.items():
                assert layer == pytest.approx(expected.layers[path], rel=0.02, abs=1e-3)
                assert scalars[f"hessian/cosine/{path}"] == [(5, pytest.approx(layer["cosine"]))]
        else:
            assert value == pytest.approx(getattr(expected, name), rel=0.02, abs=1e-3)
            assert scalars[f"hessian/{name}"] == [(5, pytest.approx(value))]
    assert len(record["alignment"]["layers"]) == 2
    json.dumps(record)


def test_what_would_cost_too_much_is_left_out_but_for_the_last(monkeypatch):
    """By a clock on which a step takes one second and a measurement ten."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    record = HessianSpectrum._record

    class Slow(HessianSpectrum):
        def _record(self, model, hessian):
            now[0] += 10
            return record(self, model, hessian)

        def on_train_batch_end(self, batch, logs=None):
            now[0] += 1
            super().on_train_batch_end(batch, logs)

    x, y, _ = linear_problem()
    model = linear(keras.losses.MeanSquaredError())
    spectrum = Slow(x, y, count=1, max_share=0.5)
    with pytest.warns(UserWarning, match="skipped where .* 0.5 of .*--hessian_share") as caught:
        model.fit(x, y, batch_size=1, epochs=7, verbose=0, callbacks=[spectrum])
    assert len([w for w in caught if "are skipped" in str(w.message)]) == 1
    # Ten steps an epoch: due at 10, which does not count, 20, ...; 20 s are half of 40, 30 of 60.
    assert [r["iteration"] for r in spectrum.history] == [10, 20, 40, 60, 70]
    assert spectrum.left_out == [30, 50, 70]
    resumed = Slow(x, y, count=1, max_share=0.5)
    resumed.set_state(json.loads(json.dumps(spectrum.get_state())))
    assert resumed.left_out == spectrum.left_out and resumed._cost == 10


@pytest.mark.parametrize("chief_measures", [True, False])
def test_all_workers_measure_where_the_chief_does(chief_measures, monkeypatch):
    asked = []

    def gathered(value):
        asked.append(value)
        return [chief_measures if len(asked) == 1 else value]

    monkeypatch.setattr(distribution.workers(), "gathered", gathered)
    x, y, _ = linear_problem()
    model = linear(keras.losses.MeanSquaredError())
    # By its own clock this worker would not measure.
    spectrum = HessianSpectrum(x, y, count=1, every=3, max_share=0.5)
    spectrum._cost = np.inf
    with warnings.catch_warnings(action="ignore"):
        model.fit(x, y, batch_size=2, epochs=1, verbose=0, callbacks=[spectrum])
    assert asked[0] is False and spectrum.left_out == ([] if chief_measures else [3])
    # What was left out is made up for after the last step.
    assert [r["iteration"] for r in spectrum.history] == ([3] if chief_measures else [5])


@pytest.mark.parametrize("every", ["step", 0, -1, 2.0, None, True], ids=repr)
def test_bad_input(every):
    message = 'every must be "epoch" or a number of steps; received'
    with pytest.raises(ValueError, match=message) as raised:
        HessianSpectrum(*probe(), every=every)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="max_share must be at least 0"):
        HessianSpectrum(*probe(), max_share=-1)
