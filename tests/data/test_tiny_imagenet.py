"""Tiny ImageNet from a small archive of its layout: prepared, read in any order, and refused."""

import io

import keras
import numpy as np
import PIL.Image
import pytest

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")
pytest.importorskip("grain")

from keras_dep.data import preparation
from keras_dep.data import sources
from keras_dep.data import tfds_files
from keras_dep.data.loader import Batches
from keras_dep.data.tiny_imagenet_archive import Archive
from tests.support import image_archives
from tests.support.image_archives import ROOT
from tests.support.image_archives import jpeg

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="nothing here is computed by the backend; tests/experiments trains on every one",
)
TRAIN, VAL = f"{ROOT}train/n02/images/n02_1.JPEG", f"{ROOT}val/images/val_2.JPEG"
ANNOTATIONS = f"{ROOT}val/val_annotations.txt"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of prepared sets, and the members of the archive, two of them in other modes."""
    folder = tmp_path_factory.mktemp("tiny")
    files = image_archives.tiny_imagenet_files()
    files[TRAIN] = jpeg(mode="L")
    files[VAL] = jpeg(mode="CMYK")
    image_archives.write_zip(folder / "tiny-imagenet-200.zip", files)
    preparation.prepare("tiny_imagenet", folder / "tfds", folder, report=lambda line: None)
    return folder / "tfds", files


def decoded(encoded):
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)).convert("RGB"))


def test_every_image_of_the_archive_has_its_pixels_and_label(prepared):
    root, files = prepared
    data = sources.load("tiny_imagenet", root)
    assert data.num_classes == 3 and data.label_names == ("n01", "n02", "n03")
    assert data.image_shape == (64, 64, 3) and data.mean == (0.4802, 0.4481, 0.3975)
    assert data.x_train.shape == (12, 64, 64, 3) and data.x_test.shape == (6, 64, 64, 3)
    names = {data.train.file_name(index): index for index in range(12)}
    for name, encoded in files.items():
        if "/train/" in name and name.endswith("JPEG"):
            image, label = data.train[names.pop(name.rpartition("/")[2])]
            np.testing.assert_array_equal(image, decoded(encoded))
            assert data.label_names[label] in name
    assert not names
    labels = dict(line.split("\t")[:2] for line in files[ANNOTATIONS].decode().splitlines())
    for index, (image, label) in enumerate(data.test):
        name = data.test.file_name(index)
        np.testing.assert_array_equal(image, decoded(files[f"{ROOT}val/images/{name}"]))
        assert data.label_names[label] == labels.pop(name)
    assert not labels


def test_a_subset_is_the_first_in_file_order_and_has_its_own_fingerprint(prepared):
    full = sources.load("tiny_imagenet", prepared[0])
    part = sources.load("tiny_imagenet", prepared[0], train_examples=5, test_examples=2)
    np.testing.assert_array_equal(part.x_train, full.x_train[:5])
    np.testing.assert_array_equal(part.y_test, full.y_test[:2])
    marks = [each.fingerprint for each in (full.train, full.test, part.train, part.test)]
    assert len(set(marks)) == 4
    assert sources.load("tiny_imagenet", prepared[0]).train.fingerprint == marks[0]
    with pytest.raises(ValueError, match="from 1 to 12, the images of tiny_imagenet"):
        sources.load("tiny_imagenet", prepared[0], train_examples=13)


def taken(data, start=(0, 0), **options):
    """The batches of three epochs from one on."""
    batches = Batches(data.x_train, data.y_train, 4, seed=5, augment="paper", **options)
    found = []
    for epoch in range(start[0], 3):
        batches.epoch = epoch
        for index in range(start[1] if epoch == start[0] else 0, len(batches)):
            found.append(batches[index])
    batches.close()
    return found


def test_order_and_content_are_those_of_the_arrays_for_any_workers_and_after_resume(prepared):
    data = sources.load("tiny_imagenet", prepared[0])
    in_memory = sources.Dataset(
        "arrays", data.x_train[:], data.y_train[:], data.x_test[:], data.y_test[:], 3, (), (), ()
    )
    wanted = taken(in_memory)
    assert len(wanted) == 9 and (wanted[0][0] != wanted[3][0]).any()
    for workers in (0, 1, 4):
        same(taken(data, workers=workers), wanted)
    same(taken(data, start=(1, 2), workers=4), wanted[5:])
    np.testing.assert_array_equal(data.x_train[::-1], in_memory.x_train[::-1])


def test_processes_give_the_batches_of_threads(prepared):
    data = sources.load("tiny_imagenet", prepared[0])
    same(taken(data, start=(2, 1), workers=1, processes=True), taken(data, start=(2, 1)))


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def renamed(files, old, new):
    files[new] = files.pop(old)


def relabelled(files, old, new):
    files[ANNOTATIONS] = files[ANNOTATIONS].replace(old, new)


WRONG_CLASS = f"{ROOT}train/n01/images/n02_9.JPEG"
UNKNOWN = f"{ROOT}train/n09/images/n09_0.JPEG"
FAULTS = {
    "no image": (lambda f: f.update({TRAIN: b"GIF"}), TRAIN, "cannot be decoded"),
    "cut short": (lambda f: f.update({VAL: jpeg()[:400]}), VAL, "cannot be decoded"),
    "one pixel": (lambda f: f.update({VAL: jpeg((1, 1))}), VAL, "has 1x1 pixels instead of 64x64"),
    "no label": (lambda f: relabelled(f, b"val_2.JPEG", b"val_7.JPEG"), "val_7.JPEG", "not there"),
    "no line": (
        lambda f: relabelled(f, b"val_2.JPEG\tn03\t0\t0\t62\t62\n", b""),
        VAL,
        "has no label in",
    ),
    "label of no class": (lambda f: relabelled(f, b"\tn03", b"\tn08"), VAL, "has the label n08"),
    "wrong class": (lambda f: renamed(f, TRAIN, WRONG_CLASS), WRONG_CLASS, "the class n02 by its"),
    "unknown class": (lambda f: renamed(f, TRAIN, UNKNOWN), UNKNOWN, "which wnids.txt does not"),
    "no classes": (lambda f: f.pop(f"{ROOT}wnids.txt"), "wnids.txt", "is not there"),
    "no labels": (lambda f: f.pop(ANNOTATIONS), ANNOTATIONS, "is not there"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_archive_is_one_line_that_names_the_file(tmp_path, fault):
    break_it, name, words = FAULTS[fault]
    files = image_archives.tiny_imagenet_files()
    break_it(files)
    path = image_archives.write_zip(tmp_path / "tiny-imagenet-200.zip", files)

    def read():
        archive = Archive(path)
        return [*archive.training_images(), *archive.validation_images()]

    with pytest.raises(ValueError) as caught:
        read()
    message = str(caught.value)
    for part in (str(path), name, words):
        assert part in message, message
    assert "\n" not in message


def test_a_corrupt_member_is_named_by_prepare_and_leaves_no_set(tmp_path):
    files = image_archives.write_tiny_imagenet(tmp_path)
    path = tmp_path / "tiny-imagenet-200.zip"
    content = bytearray(path.read_bytes())
    content[content.index(files[TRAIN]) + 200] ^= 255
    path.write_bytes(content)
    with pytest.raises(tfds_files.DataMissingError, match=f"{TRAIN} is damaged .*CRC") as caught:
        preparation.prepare("tiny_imagenet", tmp_path / "tfds", tmp_path, lambda line: None)
    assert "\n" not in str(caught.value)
    with pytest.raises(tfds_files.DataMissingError, match="no such folder; run `python apps/data"):
        sources.load("tiny_imagenet", tmp_path / "tfds")


def test_check_compares_with_the_published_set_and_its_own_files(prepared, tmp_path):
    lines = []
    faults = preparation.check("tiny_imagenet", prepared[0], lines.append)
    assert faults == [
        "train: 12 images; the published set has 100000",
        "train: 3 classes; the published set has 200",
        "test: 6 images; the published set has 10000",
        "test: 3 classes; the published set has 200",
    ]
    assert "tiny_imagenet/train: 12 images (64, 64, 3) in 3 classes, 4 to 4 images each" in lines[1]
    folder = prepared[0] / "tiny_imagenet" / "1.0.0"
    names = folder / "label.labels.txt"
    kept = names.read_text()
    names.write_text(kept.replace("n01", "n00"))
    try:
        faults = preparation.check("tiny_imagenet", prepared[0], lines.append)
    finally:
        names.write_text(kept)
    assert faults[0] == f"{names} is not the file that was prepared"


@pytest.mark.parametrize("name", ["tiny_imagenet", "imagenet2012"])
def test_prepare_says_what_to_download_and_where_to_put_it(tmp_path, name):
    release = tfds_files.RELEASES[name]
    for manual, words in ((None, "is in no given folder"), (tmp_path, f"is not in {tmp_path}")):
        with pytest.raises(tfds_files.DataMissingError) as caught:
            preparation.prepare(name, tmp_path, manual)
        for part in (release.archives[0][0], release.page, words, "--manual_dir"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_digits_need_no_preparation_and_pass_the_check(tmp_path):
    lines = []
    assert preparation.prepare("digits", tmp_path, report=lines.append) == tmp_path
    assert preparation.check("digits", report=lines.append) == []
    assert "nothing to prepare" in lines[0] and "digits/train: 1500 images (8, 8, 1)" in lines[1]
