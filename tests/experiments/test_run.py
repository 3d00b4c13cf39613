"""A run of the experiment: what it leaves, what two methods share, what it refuses."""

import json
import warnings

import keras
import numpy as np
import pytest

from keras_dep import _backend
from keras_dep import experiments
from keras_dep import models
from keras_dep._internal import atomic_io
from keras_dep.data import sources
from keras_dep.experiments import build
from keras_dep.experiments.settings import Settings
from keras_dep.models.builder import NetworkBuilder
from keras_dep.studies.curvature import Run

SMALL = {
    "batch_size": 16,
    "timesteps": 2,
    "epochs": 1,
    "attack_examples": 8,
    "watch_examples": 16,
    "hessian_examples": 0,
}
# What TensorFlow compiles without XLA is ready sooner; JAX knows no other compiler.
JIT = "off" if keras.backend.backend() == "tensorflow" else "auto"


@pytest.fixture(scope="module")
def data():
    return sources.load("digits", train_examples=48, test_examples=16)


def narrow_network(name, input_shape, num_classes, **options):
    builder = NetworkBuilder(**options)
    inputs, x = builder.image(input_shape)
    x = builder.fire(builder.convolve(x, 4, strides=2))
    x = builder.fire(builder.convolve(x, 4))
    return keras.Model(inputs, builder.logits(builder.flatten(x), num_classes), name=name)


@pytest.fixture
def narrow(monkeypatch):
    """A network that compiles in a moment, in place of the one that the settings name."""
    monkeypatch.setattr(models, "build", narrow_network)


def run(folder, data, method="sgd", resume=False, **options):
    settings = Settings(**{**SMALL, **options})
    return experiments.run(settings, method, str(folder), data, resume=resume, verbose=0)


def weights(folder):
    return keras.saving.load_model(folder / "model.keras").get_weights()


def test_two_methods_share_first_weights_and_every_batch(tmp_path, data, narrow):
    # With a learning rate of 0 weights show the start, and moving statistics every batch seen.
    options = {"learning_rate": 0.0, "augment": "paper", "poison_count": 2, "jit": JIT}
    for method in ("sgd", "dep"):
        result = run(tmp_path / method, data, method, **options)
        assert result["steps"] == 3 + 2
    for one, other in zip(weights(tmp_path / "sgd"), weights(tmp_path / "dep"), strict=True):
        np.testing.assert_array_equal(one, other)
    seeded = build.build_network(Settings(**SMALL), data).get_weights()
    assert any((one != other).any() for one, other in zip(weights(tmp_path / "sgd"), seeded))


def test_the_hessian_of_a_run_is_that_of_its_last_step(tmp_path, data, narrow):
    options = {"hessian_examples": 4, "hessian_every": 2, "poison_count": 0, "jit": JIT}
    result = run(tmp_path / "finite", data, **options)
    assert [record["iteration"] for record in result["hessian_history"]] == [2, 3]
    assert result["hessian"]["iteration"] == result["steps"] == 3
    assert result["hessian_not_finite"] == []
    # Weights grow by twelve digits a step.
    options |= {"learning_rate": 1e6, "weight_decay": 1e6, "epochs": 2, "hessian_share": 1e6}
    with pytest.warns(UserWarning, match="Hessian spectrum skipped: .*not finite"):
        result = run(tmp_path / "diverged", data, **options)
    assert result["hessian"] is None and result["hessian_not_finite"][-1] == result["steps"]


@pytest.mark.parametrize("base, mode", [("clean", "replace"), ("adversarial", "insert")])
def test_other_bases_and_modes(tmp_path, data, narrow, base, mode):
    result = run(tmp_path, data, "dep", base=base, poison_mode=mode, poison_position="last")
    assert result["steps"] == 3 + (mode == "insert")
    (poisoned,) = result["poisoned_batches"]
    assert poisoned["place"] == (3 if mode == "insert" else 2)
    assert (poisoned["loss"] is None) == (mode == "replace")
    assert result["worst_after_poison"] == result["collapse"][0]["after"]
    found = result["evaluation"]
    assert found["images"] == result["attacked_examples"] == 8
    for name in ("fgsm", "pgd"):
        assert found["attacks"][name]["accuracy"] == result["accuracy"][name]
    network = keras.saving.load_model(tmp_path / "model.keras")
    assert network.output_shape == (None, 2, 10)


@pytest.mark.parametrize("slow", [False, True])
def test_half_precision_warns_where_it_is_slow_alone(tmp_path, data, narrow, monkeypatch, slow):
    monkeypatch.setattr(_backend, "half_is_slow", lambda: slow)
    for precision in ("float32", "mixed_bfloat16"):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            run(tmp_path / precision, data, precision=precision, poison_count=0, train_examples=8)
        text = f"precision={precision} runs without kernels of its own on this processor"
        warned = [each for each in found if text in str(each.message)]
        assert len(warned) == (slow and precision != "float32")


def test_half_precision_and_its_policy_end_with_the_run(tmp_path, data, narrow):
    before = keras.mixed_precision.dtype_policy().name
    options = {"precision": "mixed_bfloat16", "poison_count": 0}
    result = run(tmp_path, data, "dep", keep_epochs=True, **options)
    assert run(tmp_path, data, "dep", resume=True, **options) == result
    assert np.isfinite(result["history"]["loss"]).all()
    assert result["poisoned_batches"] == [] and result["worst_after_poison"] is None
    assert keras.mixed_precision.dtype_policy().name == before
    # The weights it kept of its epochs end at those of the trained network.
    trained = Run(tmp_path)
    final = trained.model.get_weights()
    same = {epoch: all_equal(trained.model.get_weights(), final) for epoch in trained.epochs()}
    assert same == {0: False, 1: True} and all_equal(trained.model.get_weights(), final)


def all_equal(some, others):
    return all((one == other).all() for one, other in zip(some, others, strict=True))


def test_a_finished_run_is_told_from_another(tmp_path, data, narrow):
    result = run(tmp_path, data, poison_count=0, jit=JIT)
    assert run(tmp_path, data, poison_count=0, jit=JIT, resume=True) == result
    with pytest.raises(ValueError, match="already holds a run; pass --resume"):
        run(tmp_path, data, poison_count=0, jit=JIT)
    with pytest.raises(ValueError, match="finished run with epochs=1; received 2"):
        run(tmp_path, data, poison_count=0, epochs=2, jit=JIT, resume=True)
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**result, "backend": "other"}))
    with pytest.raises(ValueError, match="finished run with backend='other'; received"):
        run(tmp_path, data, poison_count=0, jit=JIT, resume=True)


def test_a_diverged_run_is_strict_json_and_comes_back(tmp_path, data, narrow):
    options = {"learning_rate": 1e6, "epochs": 2, "mse_weight": 1.0, "loss": "tet", "jit": JIT}
    result = run(tmp_path, data, **options)
    assert not np.isfinite(result["history"]["loss"]).all()

    def refuse(name):
        raise AssertionError(name)

    json.loads((tmp_path / "result.json").read_text(), parse_constant=refuse)
    np.testing.assert_equal(run(tmp_path, data, resume=True, **options), result)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match="result.json is damaged.*; remove the file to measure"):
        run(tmp_path, data, resume=True, **options)


def test_a_folder_in_use_is_refused(tmp_path, data, narrow):
    pytest.importorskip("fcntl", reason="there are no such locks")
    with atomic_io.claimed(tmp_path):
        for resume in (False, True):
            with pytest.raises(ValueError, match=f"'{tmp_path}' is in use by another process"):
                run(tmp_path, data, resume=resume)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoder", ["rate", "latency"])
@pytest.mark.parametrize("normalization", ["merged", "tdbn"])
def test_the_network_is_that_of_its_settings(encoder, normalization, data):
    settings = Settings(**SMALL, encoder=encoder, normalization=normalization, threshold=0.7)
    names = [type(layer).__name__ for layer in build.build_network(settings, data).layers]
    assert names[1] == {"rate": "RateEncoding", "latency": "LatencyEncoding"}[encoder]
    scaled = "ThresholdDependentBatchNormalization"
    assert (scaled in names) == (normalization == "tdbn")
    assert ("MergedBatchNormalization" in names) == (normalization == "merged")


def test_an_unknown_method_is_one_line(tmp_path, data, narrow):
    with pytest.raises(ValueError, match="methods must be some of .*; received 'adam'"):
        run(tmp_path / "out", data, "adam")
    assert not (tmp_path / "out").exists()


def test_cosine_falls_to_zero_per_epoch():
    settings = Settings(epochs=4, learning_rate=0.2)
    rates = [build.learning_rate(settings, epoch) for epoch in range(5)]
    np.testing.assert_allclose(rates, [0.2, 0.1707107, 0.1, 0.0292893, 0.0], atol=1e-7)
    constant = Settings(schedule="constant", learning_rate=0.2)
    assert build.learning_rate(constant, 2) == 0.2


def test_poison_by_the_released_code_and_its_clamp_alone(tmp_path, data, narrow):
    protocols = ("pixel", "released", "clamp_only")
    options = {"poison_count": 2, "poison_position": "first", "jit": JIT}
    found = {
        name: run(tmp_path / name, data, poison_protocol=name, **options) for name in protocols
    }
    losses = {name: [b["loss"] for b in each["poisoned_batches"]] for name, each in found.items()}
    assert losses["pixel"] != losses["released"] != losses["clamp_only"] != losses["pixel"]
    # Runs of earlier revisions know no protocols, and are those in pixel units.
    assert "poison_protocol" not in found["pixel"]["settings"]
    assert found["clamp_only"]["settings"]["poison_protocol"] == "clamp_only"
    with pytest.raises(ValueError, match="poison_protocol='released'; received None"):
        run(tmp_path / "released", data, resume=True, **options)


def test_poison_leaves_frozen_statistics_alone(tmp_path, data, narrow):
    # With a learning rate of 0 the poison shows in the running statistics alone.
    options = {"learning_rate": 0.0, "poison_count": 1, "jit": JIT}
    kinds = {
        "clean": {"poison_count": 0},
        "frozen": {"normalization_control": "frozen"},
        "moved": {},
        "recalibrated": {"normalization_control": "recalibrate"},
    }
    found = {}
    for name, chosen in kinds.items():
        run(tmp_path / name, data, **{**options, **chosen})
        found[name] = weights(tmp_path / name)
    assert all_equal(found["clean"], found["frozen"])
    assert not all_equal(found["clean"], found["moved"])
    assert not all_equal(found["moved"], found["recalibrated"])
