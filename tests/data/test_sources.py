"""Image sets, and prepared folders in every state of disrepair."""

import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from keras_dep.data import sources
from keras_dep.data import tfds_files

REPOSITORY = pathlib.Path(__file__).parents[2]


def test_digits_are_scikit_learns_at_full_range():
    data = sources.load("digits")
    images, labels = load_digits(return_X_y=True)
    assert data.image_shape == (8, 8, 1) and data.num_classes == 10
    assert data.x_train.dtype == data.x_test.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int32
    assert data.label_names == tuple(str(digit) for digit in range(10))
    both = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
    np.testing.assert_allclose(both, images / 16 * 255, atol=0.5)
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_test]), labels)
    assert (len(data.x_train), len(data.x_test)) == (1500, 297)
    np.testing.assert_allclose(data.mean[0], (data.x_train / 255).mean(), atol=5e-5)
    np.testing.assert_allclose(data.std[0], (data.x_train / 255).std(), atol=5e-5)


def test_a_subset_is_the_first_in_file_order():
    full, part = sources.load("digits"), sources.load("digits", None, False, 7, 3)
    np.testing.assert_array_equal(part.x_train, full.x_train[:7])
    np.testing.assert_array_equal(part.y_train, full.y_train[:7])
    np.testing.assert_array_equal(part.x_test, full.x_test[:3])
    np.testing.assert_array_equal(part.y_test, full.y_test[:3])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"name": "mnist"}, ["'mnist'", "cifar10, cifar100, digits"]),
        ({"name": "digits", "train_examples": 0}, ["train_examples=0", "1 to 1500"]),
        ({"name": "digits", "test_examples": 298}, ["test_examples=298", "1 to 297"]),
        ({"name": "digits", "train_examples": 2.5}, ["train_examples=2.5", "whole number"]),
        ({"name": "digits", "train_examples": True}, ["train_examples=True", "whole number"]),
    ],
)
def test_bad_requests_are_one_line(arguments, words):
    with pytest.raises(ValueError) as caught:
        sources.load(**arguments)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


# Prepared folders


def prepare(root, name="cifar10", version="3.0.2", lengths=(3, 2)):
    """Writes json and shards of the right sizes, with nothing readable in them."""
    folder = root / name / version
    folder.mkdir(parents=True)
    (folder / "features.json").write_text("{}")
    splits = []
    for split in ("train", "test"):
        for index, length in enumerate(lengths):
            shard = f"{name}-{split}.tfrecord-{index:05d}-of-{len(lengths):05d}"
            (folder / shard).write_bytes(bytes(length * (100 + 16)))
        splits.append(
            {
                "name": split,
                "numBytes": str(100 * sum(lengths)),
                "shardLengths": [str(length) for length in lengths],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        )
    info = {"name": name, "fileFormat": "tfrecord", "splits": splits, "version": version}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def rewrite_info(folder, change):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


SHARD = "cifar10-train.tfrecord-00001-of-00002"
DAMAGE = {
    "no features": (lambda folder: (folder / "features.json").unlink(), "features.json"),
    "no info": (lambda folder: (folder / "dataset_info.json").unlink(), "dataset_info.json"),
    "broken info": (lambda folder: cut(folder / "dataset_info.json", 40), "dataset_info.json"),
    "broken features": (lambda folder: cut(folder / "features.json", 1), "features.json"),
    "info is a list": (lambda folder: (folder / "dataset_info.json").write_text("[]"), "3.0.2"),
    "no test split": (lambda folder: rewrite_info(folder, lambda i: i["splits"].pop()), "test"),
    "no lengths": (
        lambda folder: rewrite_info(folder, lambda i: i["splits"][0].pop("shardLengths")),
        "shardLengths",
    ),
    "no shard": (lambda folder: (folder / SHARD).unlink(), SHARD),
    "short shard": (lambda folder: cut(folder / SHARD, 231), "579 bytes instead of 580"),
    "empty shard": (lambda folder: cut(folder / SHARD, 0), "348 bytes instead of 580"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_half_prepared_sets_say_what_is_wrong_and_how_to_mend(tmp_path, damage, no_reader):
    folder = prepare(tmp_path)
    tfds_files.find("cifar10", tmp_path)
    break_it, word = DAMAGE[damage]
    break_it(folder)
    with pytest.raises(sources.DataMissingError) as caught:
        sources.load("cifar10", data_dir=tmp_path)
    message = str(caught.value)
    for part in (word, str(tmp_path), "3.0.2", "--download", "tfds build cifar10", "--data_dir"):
        assert part in message, message
    assert "\n" not in message


@pytest.mark.parametrize("left", [[], ["cifar10"], ["cifar10/incomplete.X3_cifar10_3.0.2"]])
def test_missing_sets_say_where_they_were_looked_for(tmp_path, monkeypatch, left, no_reader):
    for folder in left:
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(sources.DataMissingError) as caught:
        sources.load("cifar10")
    message = str(caught.value)
    for part in (str(tmp_path / "cifar10"), "no such folder", "--download", "tfds build"):
        assert part in message, message
    assert "\n" not in message


def test_whole_folders_pass_and_the_newest_version_counts(tmp_path):
    prepare(tmp_path, version="3.0.2")
    newest = prepare(tmp_path, version="3.0.10", lengths=(4, 4, 1))
    prepare(tmp_path, version="2.9.9")
    (tmp_path / "cifar10" / "4.0.0.incompleteAB12").mkdir()
    found, available = tfds_files.find("cifar10", tmp_path)
    assert found == newest and available == {"train": 9, "test": 9}
    # Ready-made shards: TFDS then counts the frames in numBytes.
    rewrite_info(newest, lambda info: info["splits"][0].update(numBytes=str(9 * 116)))
    assert tfds_files.find("cifar10", tmp_path)[1]["train"] == 9


def test_too_many_examples_are_refused_before_anything_is_read(tmp_path, no_reader):
    prepare(tmp_path)
    with pytest.raises(
        ValueError, match="from 1 to 5, the images of cifar10; received train_examples=6"
    ):
        sources.load("cifar10", data_dir=tmp_path, train_examples=6)


def test_looking_for_a_set_imports_no_other_framework(tmp_path):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow is the backend itself")
    code = (
        "import sys\nfrom keras_dep.data import sources\nsources.load('digits')\n"
        f"try: sources.load('cifar10', data_dir={str(tmp_path)!r})\n"
        "except sources.DataMissingError: print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.fixture
def no_reader(monkeypatch):
    def reader():
        raise AssertionError("reader asked for")

    monkeypatch.setattr(sources, "reader", reader)


class FakeReader:
    """Stands in for TensorFlow Datasets: one image and label, any number of times."""

    def __init__(self, shape=(32, 32, 3), label=0, count=None, download=None):
        self.shape, self.label, self.count, self.download = shape, label, count, download
        names = types.SimpleNamespace(names=["a", "b"])
        self.info = types.SimpleNamespace(features={"label": names})
        self.ReadConfig = dict

    def builder_from_directory(self, folder):
        return self

    def builder(self, name, data_dir):
        return types.SimpleNamespace(download_and_prepare=self.download)

    def as_dataset(self, split, **kwargs):
        count = self.count or int(split.split(":")[1].rstrip("]"))
        pair = np.zeros((count, *self.shape), "uint8"), np.full(count, self.label)
        examples = types.SimpleNamespace(as_numpy_iterator=lambda: iter([pair]))
        examples.batch = examples.prefetch = lambda size: examples
        return examples


@pytest.mark.parametrize(
    "reader, words",
    [
        (FakeReader(label=10), "labels 0 to 9, found 10 to 10"),
        (FakeReader(label=-1), "labels 0 to 9, found -1 to -1"),
        (FakeReader(shape=(16, 16, 3)), r"uint8 \(32, 32, 3\), found uint8 \(16, 16, 3\)"),
        (FakeReader(count=1), "5 train images, found 1"),
    ],
)
def test_contents_out_of_range_are_refused(tmp_path, monkeypatch, reader, words):
    prepare(tmp_path)
    monkeypatch.setattr(sources, "reader", lambda: reader)
    with pytest.raises(sources.DataMissingError, match=words) as caught:
        sources.load("cifar10", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_download_prepares_what_is_missing_and_only_that(tmp_path, monkeypatch):
    calls = []

    def download():
        calls.append(1)
        prepare(tmp_path, "cifar100")

    monkeypatch.setattr(sources, "reader", lambda: FakeReader(download=download))
    for _ in range(2):
        data = sources.load("cifar100", data_dir=tmp_path, download=True, train_examples=2)
        assert data.x_train.shape == (2, 32, 32, 3) and data.num_classes == 100
        assert data.label_names == ("a", "b") and data.mean == (0.5071, 0.4867, 0.4408)
    assert len(calls) == 1


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def download():
        raise OSError("no route\nto host")

    monkeypatch.setattr(sources, "reader", lambda: FakeReader(download=download))
    with pytest.raises(sources.DataMissingError, match="OSError: no route") as caught:
        sources.load("cifar10", data_dir=tmp_path, download=True)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_the_reader_hides_accelerators_unless_tensorflow_trains(monkeypatch):
    hidden = []
    config = types.SimpleNamespace(set_visible_devices=lambda *given: hidden.append(given))
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", "the reader")
    assert sources.reader() == "the reader"
    trains = keras.backend.backend() == "tensorflow"
    assert hidden == ([] if trains else [([], "GPU")])


def test_an_initialised_tensorflow_is_left_as_it_is(monkeypatch):
    def refuse(*given):
        raise RuntimeError("already initialised")

    config = types.SimpleNamespace(set_visible_devices=refuse)
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", "the reader")
    assert sources.reader() == "the reader"


def test_a_missing_reader_names_the_packages(tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace())
    with pytest.raises(sources.DataMissingError, match="install tensorflow and") as caught:
        sources.load("cifar10", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_real_set_reads_in_file_order():
    root = os.environ.get("KERAS_DEP_TFDS", REPOSITORY.parent / "shared" / "data" / "tfds")
    if not (pathlib.Path(root) / "cifar10").is_dir():
        pytest.skip(f"no CIFAR-10 in {root}; set KERAS_DEP_TFDS to a prepared folder")
    pytest.importorskip("tensorflow_datasets")
    data = sources.load("cifar10", root, train_examples=300, test_examples=40)
    assert data.x_train.shape == (300, 32, 32, 3) and data.x_test.shape == (40, 32, 32, 3)
    assert data.x_train.dtype == np.uint8 and data.y_train.dtype == np.int32
    assert set(data.y_train) == set(range(10)) and data.label_names[0] == "airplane"
    np.testing.assert_allclose((data.x_train / 255).mean((0, 1, 2)), data.mean, atol=0.05)
    fewer = sources.load("cifar10", root, train_examples=20, test_examples=1)
    np.testing.assert_array_equal(fewer.x_train, data.x_train[:20])
    np.testing.assert_array_equal(fewer.y_train, data.y_train[:20])
