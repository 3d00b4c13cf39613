"""Training on frames of recordings, and attacks on them, from the apps."""

import json

import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from apps import attack
from apps import hetero_train
from keras_dep import models
from keras_dep.data import preparation
from keras_dep.data import sources
from keras_dep.data.events import Framing
from tests.experiments.test_run import JIT
from tests.experiments.test_run import narrow_network
from tests.support import event_files
from tests.support import recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared event set, and a run that was trained on it."""
    # Grain defines flags of absl, which must outlive the flagsaver below.
    for needed in ("tensorflow_datasets", "array_record", "grain"):
        pytest.importorskip(needed)
    root = tmp_path_factory.mktemp("events")
    recordings.write_dvs_cifar10(root / "archives", numbers=(0, 100, 101))
    preparation.prepare("dvs_cifar10", root / "tfds", root / "archives")
    settings = (
        "--dataset=dvs_cifar10",
        "--encoder=events",
        f"--data_dir={root / 'tfds'}",
        "--timesteps=2",
        "--frame_side=8",
        "--frames_by=time",
        "--frame_saturation=2",
        "--augment=standard",
        "--methods=dep",
        "--batch_size=8",
        "--epochs=1",
        "--watch_examples=8",
        "--hessian_examples=0",
        "--verbose=0",
        f"--jit={JIT}",
    )
    with pytest.MonkeyPatch.context() as patch:
        # A network that compiles in a moment.
        patch.setattr(models, "build", narrow_network)
        if "timesteps" in flags.FLAGS:
            patch.setattr(hetero_train, "_define_settings", lambda: None)
        argv = ["hetero_train.py", f"--out_dir={root / 'run'}", *settings]
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as caught:
            hetero_train.launch(argv)
        assert not caught.value.code
    return root


@pytest.fixture
def launch(tmp_path, folder):
    def run(*arguments):
        attack.FLAGS.unparse_flags()
        for name in attack.FLAGS:
            attack.FLAGS[name].unparse()
        usual = f"--data_dir={folder / 'tfds'}", f"--out_dir={tmp_path / 'out'}", "--verbose=0"
        with pytest.raises(SystemExit) as caught:
            attack.launch(["attack.py", *usual, *arguments])
        return caught.value.code or 0

    return run


def test_a_run_on_frames_is_attacked_frame_by_frame(folder, launch, tmp_path):
    result = json.loads((folder / "run/dep/result.json").read_text())
    assert result["settings"]["frames_by"] == "time" and result["steps"] == 3
    assert "frame_side" in result["settings"] and set(result["accuracy"]) == {
        "clean",
        "fgsm",
        "pgd",
    }
    model = keras.saving.load_model(folder / "run/dep/model.keras")
    assert model.input_shape == (None, 2, 8, 8, 2)
    assert launch(f"--model={folder / 'run/dep'}", "--suite=paper", "--pictures=1") == 0
    record = json.loads((tmp_path / "out/evaluation.json").read_text())
    protocol = record["protocol"]
    assert protocol["perturbation"] == "of every frame by itself"
    assert (protocol["frames_by"], protocol["frame_saturation"]) == ("time", 2)
    # The frames are those that the network was trained on.
    framing = Framing(timesteps=2, side=8, by="time", saturation=2)
    data = sources.load("dvs_cifar10", folder / "tfds", framing=framing)
    logits = model.predict(data.x_test / np.float32(255), verbose=0)
    right = int((logits.mean(axis=1).argmax(axis=1) == data.y_test).sum())
    assert record["clean"]["correct"] == right and record["clean"]["images"] == 10
    assert result["accuracy"]["clean"] == right / 10
    for found in record["attacks"]:
        assert found["largest_change"] <= 8 / 255 + 1e-6
    tags = event_files.accumulate(tmp_path / "out").Tags()["tensors"]
    assert ("visualization/white_box" in tags) == (right > 0)


def test_events_are_retimed(folder, launch, tmp_path):
    arguments = f"--model={folder / 'run/dep'}", "--suite=timing", "--examples=4"
    assert launch(*arguments) == 0
    record = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert [each["attack"] for each in record["attacks"]] == [f"retiming-{n}" for n in (1, 2, 3)]
    assert record["protocol"]["perturbation"] == "of the time of events alone"
    assert "epsilon" not in record["protocol"]


def test_a_mistake_is_one_line(folder, launch, capsys, tmp_path):
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        tmp_path / "net.keras"
    )
    for arguments, words in (
        (
            (f"--model={tmp_path / 'net.keras'}", "--dataset=dvs_cifar10"),
            "model must take frames (T, side, side, 2) for dataset=dvs_cifar10; received inputs",
        ),
        (
            (f"--model={tmp_path / 'net.keras'}", "--dataset=digits", "--frames_by=time"),
            "frames_by is for event sets; received dataset=digits too",
        ),
        (
            (f"--model={tmp_path / 'net.keras'}", "--dataset=digits", "--suite=timing"),
            "SpikeRetiming needs frames (batch, T, height, width, channels); received shape",
        ),
        (
            (f"--model={folder / 'run/dep'}", "--suite=timing", "--epsilon=0.1"),
            "epsilon is for suites with a ball; received suite=timing too",
        ),
        (
            (f"--model={folder / 'run/dep'}", "--dataset=dvs128_gesture"),
            "dvs128_gesture expected in",
        ),
    ):
        assert launch(*arguments) == 2
        message = capsys.readouterr().err.strip().splitlines()
        assert len(message) == 1 and words in message[0], message
