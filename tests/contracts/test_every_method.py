"""Every method of training: the same start as plain training, files, resumption, precision."""

import functools
import os

import keras
import numpy as np
import pytest

from keras_dep import defences
from keras_dep import evaluation
from keras_dep import experiments
from keras_dep import models
from keras_dep.attacks.randomness import is_random
from keras_dep.data import sources
from keras_dep.defences import Defence
from keras_dep.evaluation import metadata
from keras_dep.experiments import build
from keras_dep.experiments.run import _Run
from keras_dep.experiments.settings import Settings
from keras_dep.models.builder import NetworkBuilder
from keras_dep.training import state_file

METHODS = defences.names()
# What each method does nothing at. The others are operations without a strength.
OFF = {
    "clip": "clip(max_norm=1e400)",
    "dlif": "dlif(rho=0.0, kappa=1.0)",
    "feel": "feel(encode=False, learn_leaks=False)",
    "free_at": "free_at(replays=1)",
    "hire": "hire(periods=1)",
    "hosnn": "hosnn(theta=0.0)",
    "mpd_sgr": "mpd_sgr(strength=0.0)",
    "sam": "sam(rho=0.0)",
    "sgd": "sgd",
    "snn_rat": "snn_rat(beta=0.0)",
    "sr": "sr(strength=0.0)",
    "stog": "stog(bypass=True)",
    "tg_reg": "tg_reg(strength=0.0)",
    "tgo": "tgo(strength=0.0, sigma=0.0)",
}
WITHOUT_STRENGTH = {"dep", "dep_every", "noise", "random_rank_one", "second_component"}
# In words of the refusal; the others combine.
NOT_WITH_DEP = dict.fromkeys(WITHOUT_STRENGTH, "leading component of the gradient")
RANDOM = {"stog"}
# Those with layers of their own, whose compilation nothing else tests.
LAYERED = ("dlif", "feel", "hosnn", "mpd_sgr", "stog", "tgo")
# The threshold is low enough for a network of few neurons to fire.
SMALL = {
    "batch_size": 8,
    "timesteps": 2,
    "epochs": 2,
    "learning_rate": 0.05,
    "weight_decay": 0.0,
    "threshold": 0.3,
    "poison_count": 0,
    "hessian_examples": 0,
    "watch_examples": 2,
    "attack_examples": 4,
    "jit": "off",
}


MEASURE, COMPILE = _Run._measure, keras.Model.compile


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (12, 4, 4, 1)).astype("uint8")
    labels = (np.arange(12) % 3).astype("int32")
    return sources.Dataset(
        "digits", images[:8], labels[:8], images[8:], labels[8:], 3, (0.5,), (0.3,), tuple("abc")
    )


def tiny(name, input_shape, num_classes, **options):
    builder = NetworkBuilder(**options)
    inputs, x = builder.image(input_shape)
    x = builder.drop(builder.spike(builder.convolve(x, 3)))
    x = builder.spike(builder.dense(builder.flatten(x), 4))
    # The usual start near 0 leaves the layers before it little gradient.
    return keras.Model(inputs, builder.logits(x, num_classes, "glorot_uniform"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture
def compiled(monkeypatch, small):
    monkeypatch.setattr(keras.Model, "compile", COMPILE)


def shrink(patch):
    """A network of one convolution, eager steps, and no measurement at the end of a run."""
    patch.setattr(models, "build", tiny)
    patch.setattr(_Run, "_measure", lambda self, writer: {**self.description})
    patch.setattr(keras.Model, "compile", functools.partialmethod(COMPILE, run_eagerly=True))


def run(folder, data, method, resume=False, **options):
    settings = Settings(**{**SMALL, **options})
    experiments.run(settings, method, str(folder), data, resume=resume, verbose=0)
    return keras.saving.load_model(folder / "model.keras")


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """The folder of runs, with that of plain training, and its network."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return folder, run(folder / "sgd", data, "sgd")


def equal(some, others):
    return all(
        one.shape == other.shape and (one == other).all()
        for one, other in zip(some, others, strict=True)
    )


def assembled(data, method, folder, **options):
    method = defences.get(method)
    settings = build.settings_of(Settings(**{**SMALL, **options}), method)
    keras.utils.set_random_seed(0)
    batches = build.build_batches(settings, data)
    return build.assemble(settings, method, data, batches, str(folder))


def test_the_table_is_complete():
    assert set(OFF) | WITHOUT_STRENGTH == set(METHODS) and not set(OFF) & WITHOUT_STRENGTH


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(method, data, plain, monkeypatch):
    networks, measure = [], _Run._measure

    def watched(self, writer):
        networks.append(self.parts.network)
        return measure(self, writer)

    monkeypatch.setattr(_Run, "_measure", watched)
    folder = plain[0] / f"{method}-whole"
    whole = run(folder, data, method)
    # A file loses nothing.
    assert equal(whole.get_weights(), networks[0].get_weights())
    assert metadata.describe(whole) == metadata.describe(networks[0])
    if method not in RANDOM:
        images = data.x_test.astype("float32") / 255.0
        logits = [keras.ops.convert_to_numpy(each(images)) for each in (networks[0], whole)]
        np.testing.assert_array_equal(*logits)
    # The method acts, unless all gates have been open and no gradient too long.
    if method not in ("clip", "sgd", "stog"):
        kernels = [each.get_weights()[0] for each in map(conv, (whole, plain[1]))]
        assert (kernels[0] != kernels[1]).any()
    # As it was after the first epoch.
    for name in ("result.json", "model.keras", "state.0"):
        os.remove(folder / name)
    assert state_file.newest(str(folder / "state")).epochs_completed == 1
    # Another process has drawn other numbers.
    keras.utils.set_random_seed(99)
    resumed = run(folder, data, method, resume=True)
    assert equal(resumed.get_weights(), whole.get_weights())


def conv(network):
    return network.get_layer("conv1")


@pytest.mark.parametrize("method", sorted(set(OFF) - {"sgd"}))
def test_strength_0_is_plain_training(method, data, plain):
    folder, network = plain
    off = defences.get(OFF[method])
    # Without parts there is nothing to run.
    if off != Defence(name=off.name):
        found = run(folder / f"{method}-off", data, OFF[method])
        assert equal(found.get_weights(), network.get_weights())


@pytest.mark.parametrize("method", METHODS)
def test_the_start_is_that_of_plain_training(method, data, tmp_path):
    starts = []
    for each in ("sgd", method):
        network = assembled(data, each, tmp_path, dropout=0.25).network
        starts.append({v.path: v for v in network.variables})
    shared = [path for path in starts[0] if path in starts[1]]
    assert {"conv1/kernel", "dense1/kernel", "dense2/bias"} <= set(shared)
    for path in shared:
        one, other = (keras.ops.convert_to_numpy(each[path]) for each in starts)
        np.testing.assert_array_equal(one, other, path)
    assert is_random(network, np.zeros((1, 4, 4, 1), "float32")) == (method in RANDOM)


def trained(parts, epochs):
    """Asserts that a run's parts train, and that all stays finite."""
    before = parts.network.get_weights()
    history = parts.model.fit(
        parts.training_data, epochs=epochs, shuffle=False, verbose=0, callbacks=parts.callbacks
    )
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(each).all() for each in parts.network.get_weights())
    assert not equal(parts.network.get_weights(), before)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_and_dep(method, data, plain):
    """Under bfloat16, together with DEP where the two combine."""
    expression = f"dep+{method}"
    if method in NOT_WITH_DEP:
        with pytest.raises(ValueError, match=f"do not combine: .*{NOT_WITH_DEP[method]}"):
            defences.get(expression)
        expression = method
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    trained(assembled(data, expression, plain[0], precision="mixed_bfloat16"), epochs=1)


@pytest.mark.parametrize("method", LAYERED)
def test_compiled_steps(method, data, plain, compiled):
    # Without XLA on TensorFlow, where it takes long to compile.
    jit = "off" if keras.backend.backend() == "tensorflow" else "auto"
    trained(assembled(data, method, plain[0], jit=jit), epochs=2)


@pytest.mark.parametrize(
    "method, options, words",
    [
        ("stog", {"spiking": False}, "spiking must be True for the method stog; received False"),
        ("feel", {"encoder": "rate"}, "encoder must be 'direct' for the method feel.*'rate'"),
    ],
)
def test_settings_that_leave_a_method_no_place(method, options, words, data, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        assembled(data, method, tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_hosnn_needs_a_signature_of_the_same_network(data, plain, tmp_path):
    folder, _ = plain
    missing, other, plainly = (str(tmp_path / name) for name in ("no.npz", "other.npz", "x.npy"))
    np.savez(other, lif1=np.zeros((2, 3)), lif2=np.zeros((2, 4)))
    np.save(plainly, np.zeros(3))
    for options, where, words in (
        ("", tmp_path, "hosnn needs the signature of a plainly trained network; received none in"),
        (f"signature={missing!r}", folder, "signature '.*no.npz' cannot be read"),
        (f"signature={plainly!r}", folder, "signature '.*x.npy' cannot be read .it holds no names"),
        (f"signature={other!r}", folder, r"signature of lif1 must have the shape \(2, 4, 4, 3\)"),
    ):
        (callback,) = assembled(data, f"hosnn({options})", where).callbacks
        with pytest.raises(ValueError, match=words) as caught:
            callback.on_train_begin()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "method, samples", [("stog", 10), ("tgo(noise='always')", 10), ("dlif", 1)]
)
def test_a_run_averages_the_draws_of_random_networks(method, samples, data, tmp_path, monkeypatch):
    def evaluate(network, images, labels, suite, **options):
        raise RuntimeError([attack.samples for attack in suite.values()])

    monkeypatch.setattr(_Run, "_measure", MEASURE)
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match=f"{samples}, {samples}"):
        run(tmp_path, data, method, epochs=1)
