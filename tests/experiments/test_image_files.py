"""A run on a set that is decoded batch by batch: interrupted in an epoch, resumed, and compared."""

import json
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")
pytest.importorskip("grain")

from keras_dep import callbacks
from keras_dep import experiments
from keras_dep import models
from keras_dep.data import preparation
from keras_dep.data import sources
from keras_dep.experiments import results
from keras_dep.experiments.settings import Settings
from tests.experiments.test_run import narrow_network
from tests.support import image_archives

SETTINGS = {
    "dataset": "tiny_imagenet",
    "batch_size": 8,
    "timesteps": 2,
    "epochs": 2,
    "augment": "paper",
    "attack_examples": 4,
    "watch_examples": 4,
    "hessian_examples": 0,
    "eval_steps": 1,
    # What TensorFlow compiles without XLA is ready sooner; JAX knows no other compiler.
    "jit": "off" if keras.backend.backend() == "tensorflow" else "auto",
}


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    image_archives.write_tiny_imagenet(folder, per_class=8, validation=6)
    preparation.prepare("tiny_imagenet", folder / "tfds", folder, report=lambda line: None)
    return str(folder / "tfds")


def test_a_run_killed_within_an_epoch_resumes_to_the_same_weights(tmp_path, data_dir, monkeypatch):
    monkeypatch.setattr(models, "build", narrow_network)
    monkeypatch.setattr(sys.modules[experiments.run.__module__], "READ_TOGETHER", 4)

    def run(name, workers, resume=False):
        settings = Settings(**SETTINGS, data_dir=data_dir, workers=workers)
        return experiments.run(settings, "sgd", tmp_path / name, resume=resume, verbose=0)

    unbroken = run("unbroken", workers=1)

    class Kill(callbacks.StepClock):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            # Three ordinary steps and a poisoned one make an epoch.
            if int(self.model.optimizer.iterations) > 5:
                raise Killed

    monkeypatch.setattr(callbacks, "StepClock", Kill)
    with pytest.raises(Killed):
        run("broken", workers=2)
    monkeypatch.undo()
    monkeypatch.setattr(models, "build", narrow_network)
    resumed = run("broken", workers=4, resume=True)
    assert resumed["steps"] == unbroken["steps"] == 8
    for name in ("data", "accuracy", "history", "poisoned_batches", "collapse"):
        assert resumed[name] == unbroken[name]
    assert "workers" not in resumed["settings"]
    networks = [
        results.trained_network(tmp_path / name, r)
        for name, r in (("unbroken", unbroken), ("broken", resumed))
    ]
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)

    # The same images in memory train the same network.
    files = sources.load("tiny_imagenet", data_dir)
    arrays = sources.Dataset(
        "tiny_imagenet",
        *(each[:] for each in (files.x_train, files.y_train, files.x_test, files.y_test)),
        files.num_classes,
        files.mean,
        files.std,
        files.label_names,
    )
    result = experiments.run(Settings(**SETTINGS), "sgd", tmp_path / "arrays", arrays, verbose=0)
    assert result["history"]["loss"] == unbroken["history"]["loss"]
    assert result["accuracy"] == unbroken["accuracy"]
    with open(tmp_path / "arrays" / results.RESULT) as file:
        assert json.load(file)["data"]["train"] == arrays.train.fingerprint
