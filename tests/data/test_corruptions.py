"""CIFAR-10-C from folders of the true layout, and what is said where they are missing."""

import numpy as np
import pytest

from keras_dep.data import corruptions
from tests.support import prepared_cifar


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("corrupted")
    with pytest.MonkeyPatch.context() as patch:
        made = prepared_cifar.prepare_corrupted(root, patch, ["fog", "snow"], 6, severities=2)
    return root / "tfds", made


def test_images_come_in_file_order_by_corruption_and_severity(prepared):
    root, made = prepared
    corruptions.check(["fog", "snow"], [1, 2], root)
    for name, images in made.items():
        for severity in (1, 2):
            found, labels = corruptions.load(name, severity, root)
            place = slice((severity - 1) * 6, severity * 6)
            assert found.dtype == np.uint8 and labels.dtype == np.int32
            # TensorFlow Datasets shuffles once when it prepares; images keep their labels.
            order = [int(np.argmax((images[place] == each).all((1, 2, 3)))) for each in found]
            assert sorted(order) == list(range(6)) and labels.tolist() == order
    fewer, labels = corruptions.load("fog", 2, root, examples=4)
    np.testing.assert_array_equal(fewer, corruptions.load("fog", 2, root)[0][:4])


def test_names_are_those_of_the_builder():
    peer = pytest.importorskip("tensorflow_datasets.image_classification.cifar10_corrupted")
    assert tuple(peer.BENCHMARK_CORRUPTIONS) == corruptions.BENCHMARK
    assert tuple(peer.EXTRA_CORRUPTIONS) == corruptions.EXTRA


def test_what_is_missing_is_one_line_with_the_command(prepared, tmp_path):
    root, _ = prepared
    with pytest.raises(corruptions.DataMissingError) as caught:
        corruptions.check(["fog", "frost"], [2, 3], root)
    message = str(caught.value)
    for part in (
        f"cifar10_corrupted/fog_3 expected in {root / 'cifar10_corrupted/fog_3'}",
        f"`tfds build cifar10_corrupted --data_dir={root}`",
        "--manual_dir",
        "CIFAR-10-C.tar of https://zenodo.org/records/2535967",
        "3 of 4 such folders are missing",
    ):
        assert part in message, message
    assert "\n" not in message and message.count("expected in") == 1
    with pytest.raises(corruptions.DataMissingError, match="fog_1 expected in .*no such folder"):
        corruptions.load("fog", 1, tmp_path)


@pytest.mark.parametrize(
    "given, words",
    [
        (("smoke", 1), "corruption must be one of gaussian_noise, .*received 'smoke'"),
        (("fog", 0), "severity must be one of 1, 2, 3, 4, 5; received 0"),
        (("fog", True), "received True"),
        (("fog", 1, None, 7), "examples must be at most 6, the images of cifar10_corrupted/fog_1"),
        (("fog", 1, None, 0), "examples must be at least 1"),
    ],
)
def test_bad_requests_are_one_line(prepared, given, words, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared[0]))
    with pytest.raises(ValueError, match=words) as caught:
        corruptions.load(*given)
    assert "\n" not in str(caught.value)


def test_a_damaged_shard_is_one_line(prepared, tmp_path):
    import shutil

    shutil.copytree(prepared[0], tmp_path / "tfds")
    (shard,) = (tmp_path / "tfds").glob("cifar10_corrupted/fog_1/*/*tfrecord*")
    content = bytearray(shard.read_bytes())
    content[100] ^= 255
    shard.write_bytes(content)
    with pytest.raises(corruptions.DataMissingError, match="fog_1.*found it damaged") as caught:
        corruptions.load("fog", 1, tmp_path / "tfds")
    assert "\n" not in str(caught.value)
    shard.write_bytes(content[:-1])
    with pytest.raises(corruptions.DataMissingError, match="fog_1.*bytes instead of"):
        corruptions.check(["fog"], [1], tmp_path / "tfds")
