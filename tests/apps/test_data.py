"""The data app: a set prepared from an archive, checked and shown, and mistakes in one line."""

import keras
import numpy as np
import PIL.Image
import pytest

from apps import data
from keras_dep.data import picture
from keras_dep.data import sources
from keras_dep.data import transforms
from tests.support import image_archives
from tests.support.app_status import status_of

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the app computes nothing with the backend"
)


@pytest.fixture
def launch():
    def run(*arguments):
        return status_of(data, arguments)

    return run


def test_a_set_is_prepared_once_then_checked_and_shown(tmp_path, launch, capsys):
    for name in ("tensorflow_datasets", "array_record", "grain"):
        pytest.importorskip(name)
    image_archives.write_tiny_imagenet(tmp_path)
    root = tmp_path / "tfds"
    flags = ["--dataset=tiny_imagenet", f"--data_dir={root}"]
    assert launch("check", *flags) == 2
    assert "python apps/data.py prepare --dataset=tiny_imagenet" in capsys.readouterr().err
    assert launch("prepare", *flags, f"--manual_dir={tmp_path}") == 0
    folder = root / "tiny_imagenet" / "1.0.0"
    assert f"tiny_imagenet prepared in {folder}" in capsys.readouterr().out
    assert launch("prepare", *flags) == 0
    assert capsys.readouterr().out == f"tiny_imagenet is prepared in {folder}.\n"
    assert launch("check", *flags) == 1
    assert "train: 12 images; the published set has 100000" in capsys.readouterr().out
    path = tmp_path / "samples.png"
    options = ["--augment=resized_crop", "--rows=2", "--columns=3", f"--out={path}"]
    assert launch("show", *flags, *options) == 0
    drawn = np.asarray(PIL.Image.open(path))
    source = sources.load("tiny_imagenet", root).train
    assert drawn.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    np.testing.assert_array_equal(drawn[68:132, 2:66], source[1][0])
    rng = np.random.default_rng([0, 1])
    changed = transforms.augmented(source, np.array([1, 1]), transforms.resized_crop, rng)
    np.testing.assert_array_equal(drawn[68:132, 68:132], changed[0])


def test_small_images_are_enlarged():
    drawn = picture.grid(sources.load("digits").train, "none", rows=1, columns=1)
    image = sources.load("digits").x_train[0]
    np.testing.assert_array_equal(drawn[2:66:8, 2:66:8], image.repeat(3, axis=2))


def test_the_digits_pass(launch, capsys):
    assert launch("check", "--dataset=digits") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no fault found."


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "one of prepare, check, show must be given; received nothing."),
        (["fetch", "--dataset=digits"], "must be given; received fetch."),
        (["check", "show"], "must be given; received check show."),
        (["check"], "dataset must be one of cifar10, cifar100, digits"),
        (["check", "--dataset=mnist"], "dataset must be one of cifar10, cifar100, digits"),
        (["show", "--dataset=digits", "--augment=crop"], "augment must be one of none, paper"),
        (["prepare", "--dataset=digits", "--data_dir="], "data_dir must name a folder"),
        (["show", "--dataset=digits", "--out=/nowhere/a.png"], "/nowhere/a.png"),
        (["show", "--dataset=digits", "--out=a.txt"], "unknown file extension: .txt"),
    ],
)
def test_a_mistake_is_one_line(launch, capsys, arguments, words):
    assert launch(*arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("data: ") and words in message[0]
