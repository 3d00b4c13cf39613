"""Event sets prepared from small archives of the true layout, and damaged archives."""

import shutil
import tarfile

import numpy as np
import pytest

from keras_dep.data import Batches
from keras_dep.data import EpochBatches
from keras_dep.data import events
from keras_dep.data import picture
from keras_dep.data import preparation
from keras_dep.data import sources
from keras_dep.data.events import dvs128_gesture
from keras_dep.data.events import dvs_cifar10
from keras_dep.data.events import sets
from keras_dep.data.tfds_files import ArchiveError
from tests.support import recordings

FRAMING = events.Framing(timesteps=2, by="time", side=16, saturation=2)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    made = recordings.write_dvs_cifar10(root)
    gestures = recordings.write_gestures(root / "unpacked" / "DvsGesture")
    with tarfile.open(root / "DvsGesture.tar.gz", "w:gz") as archive:
        archive.add(root / "unpacked" / "DvsGesture", "DvsGesture")
    return root, made, gestures


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
    for needed in ("tensorflow_datasets", "array_record"):
        pytest.importorskip(needed)
    root = tmp_path_factory.mktemp("prepared")
    for name in sets.CLASSES:
        folder = preparation.prepare(name, root, archives[0], report=str)
        assert folder == root / name / "1.0.0"
        assert preparation.prepare(name, root, report=str) == folder
    return root


def frames_of(made):
    return FRAMING.of(made, (128, 128)).tobytes()


def test_raw_events_keep_labels_and_split(archives, prepared):
    _, made, gestures = archives
    expected = {
        "dvs_cifar10": {
            "train": {n: (n, e) for n, e in made.items() if n.endswith("_100")},
            "test": {n: (n, e) for n, e in made.items() if not n.endswith("_100")},
        },
        "dvs128_gesture": {
            split: {n: found for n, found in gestures.items() if n.startswith(users)}
            for split, users in (("train", ("user01", "user02")), ("test", ("user24",)))
        },
    }
    names = [name.split("_")[0] for name in sets.CLASSES["dvs_cifar10"]]
    for name, splits in expected.items():
        data = sources.load(name, prepared, framing=FRAMING)
        assert data.image_shape == (2, 16, 16, 2) and data.x_train.dtype == np.uint8
        assert data.label_names == sets.CLASSES[name] and data.num_classes == len(data.label_names)
        found = {
            "train": zip(data.x_train, data.y_train),
            "test": zip(data.x_test, data.y_test),
        }
        for split, pairs in found.items():
            wanted = sorted(
                (frames_of(each), names.index(label.split("_")[0]) if "cifar" in name else label)
                for label, each in splits[split].values()
            )
            assert sorted((x.tobytes(), int(y)) for x, y in pairs) == wanted, (name, split)
    part = sources.load("dvs_cifar10", prepared, train_examples=3, framing=FRAMING)
    whole = sources.load("dvs_cifar10", prepared, framing=FRAMING)
    np.testing.assert_array_equal(part.x_train, whole.x_train[:3])


def test_frames_are_counted_when_they_are_asked_for(prepared, monkeypatch):
    asked = []
    of = events.Framing.of
    monkeypatch.setattr(events.Framing, "of", lambda *given: asked.append(1) or of(*given))
    data = sources.load("dvs_cifar10", prepared, framing=FRAMING)
    assert not data.in_memory and not asked
    batches = Batches(data.x_train, data.y_train, batch_size=4, seed=3, workers=0)
    images, labels = batches[1]
    assert len(asked) == 4
    chosen = EpochBatches(source=data.train, batch_size=4, seed=3).indices(0, 1)
    np.testing.assert_array_equal(images, data.x_train[chosen] / np.float32(255))
    np.testing.assert_array_equal(labels, data.y_train[chosen])
    # Other frames of the same recordings are another set.
    other = sources.load("dvs_cifar10", prepared, framing=events.Framing(timesteps=2, side=16))
    assert other.train.fingerprint != data.train.fingerprint


def test_a_damaged_recording_is_named(prepared, monkeypatch):
    data = sources.load("dvs_cifar10", prepared, framing=FRAMING)
    record = dict(data.train.record(2))
    wrong = {**record["events"], "x": record["events"]["x"] + 128}
    monkeypatch.setattr(data.train, "record", lambda index: {**record, "events": wrong})
    name = record["name"].decode()
    with pytest.raises(ValueError, match=rf"^dvs_cifar10/train record 2 \({name}\) is damaged: "):
        data.x_train[2]


def test_the_raw_events_are_those_of_the_archive(archives, prepared):
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds.builder_from_directory(str(prepared / "dvs_cifar10" / "1.0.0"))
    for each in builder.as_data_source("test"):
        made = archives[1][each["name"].decode()]
        for field in "txyp":
            np.testing.assert_array_equal(each["events"][field], made[field])
            assert each["events"][field].dtype == made[field].dtype


def test_a_prepared_set_is_checked_against_the_public_one(prepared):
    lines = []
    faults = preparation.check("dvs128_gesture", prepared, lines.append)
    assert faults == [
        "train: 6 images; the published set has 1176",
        "train: 5 classes without an image",
        "test: 3 images; the published set has 288",
        "test: 8 classes without an image",
    ]
    assert any("checksums of" in line for line in lines)


def test_frames_are_drawn_side_by_side(prepared):
    data = sources.load("dvs_cifar10", prepared, framing=FRAMING)
    drawn = picture.grid(data.train, "standard", rows=2, columns=3)
    strip = events.as_pictures(data.x_train[:1])[0]
    assert strip.shape == (16, 32, 3)
    # Enlarged twice, behind a gap of two pixels.
    np.testing.assert_array_equal(drawn[2:34:2, 2:66:2], strip)


def test_what_is_missing_is_one_line(tmp_path):
    for name, manual, words in (
        ("dvs128_gesture", None, "needs DvsGesture.tar.gz, .*download it from https://ibm"),
        ("dvs_cifar10", tmp_path, "needs airplane.zip, which is not in .*figshare.4724671"),
    ):
        with pytest.raises(sources.DataMissingError, match=words) as caught:
            preparation.prepare(name, tmp_path / "tfds", manual, report=str)
        assert "\n" not in str(caught.value)
    with pytest.raises(sources.DataMissingError, match="data.py prepare --dataset=dvs_cifar10"):
        sources.load("dvs_cifar10", tmp_path)


def damaged_zip(folder):
    path = folder / "bird.zip"
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)


def renamed_member(folder):
    shutil.copy(folder / "bird.zip", folder / "cat.zip")


def truncated_recording(folder):
    import zipfile

    with zipfile.ZipFile(folder / "deer.zip", "a") as archive:
        archive.writestr("deer/cifar10_deer_7.aedat", b"#!AER-DAT2.0\r\n" + bytes(13))


@pytest.mark.parametrize(
    "damage, words",
    [
        (damaged_zip, r"bird.zip cannot be read \(Bad CRC-32"),
        (lambda f: (f / "bird.zip").write_bytes(b"PK"), "bird.zip cannot be read"),
        (renamed_member, "cat.zip: bird/cifar10_bird_0.aedat must be a recording of cat"),
        (truncated_recording, "deer.zip: deer/cifar10_deer_7.aedat must hold events of 8 bytes"),
    ],
)
def test_a_damaged_archive_of_cifar_is_one_line(archives, tmp_path, damage, words):
    shutil.copytree(archives[0], tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    with pytest.raises(ArchiveError, match=words) as caught:
        list(dvs_cifar10.recordings(tmp_path, "test"))
    assert "\n" not in str(caught.value)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda f: (f / "user02_lab_labels.csv").unlink(), "user02_lab_labels.csv cannot be read"),
        (lambda f: (f / "user02_lab.aedat").unlink(), r"user02_lab.aedat cannot be read \(No such"),
        (lambda f: (f / "trials_to_train.txt").unlink(), "trials_to_train.txt cannot be read"),
        (lambda f: cut(f / "user02_lab.aedat"), "user02_lab.aedat is truncated"),
        (lambda f: cut(f / "user02_lab_labels.csv"), "two growing times .* in line 4"),
        (
            lambda f: recordings.write_gesture_labels(f / "user01_led_labels.csv", [(12, 0, 9)]),
            "user01_led_labels.csv must have a class of 1 to 11 .* received '12,0,9' in line 2",
        ),
        (
            lambda f: (f / "user01_led_labels.csv").write_text("a,b\n"),
            "user01_led_labels.csv must begin with class,startTime_usec,endTime_usec; received a,b",
        ),
    ],
)
def test_a_damaged_archive_of_gestures_is_one_line(archives, tmp_path, damage, words):
    folder = tmp_path / "DvsGesture"
    shutil.copytree(archives[0] / "unpacked" / "DvsGesture", folder)
    damage(folder)
    with pytest.raises(ArchiveError, match=words) as caught:
        list(dvs128_gesture.recordings(folder, "train"))
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_fault_of_the_archive_comes_through_the_builder(archives, tmp_path):
    pytest.importorskip("array_record")
    folder = tmp_path / "DvsGesture"
    shutil.copytree(archives[0] / "unpacked" / "DvsGesture", folder)
    (folder / "user24_led_labels.csv").unlink()
    with tarfile.open(tmp_path / "DvsGesture.tar.gz", "w:gz") as archive:
        archive.add(folder, "DvsGesture")
    with pytest.raises(sources.DataMissingError) as caught:
        preparation.prepare("dvs128_gesture", tmp_path / "tfds", tmp_path, report=str)
    message = str(caught.value)
    assert message.startswith("dvs128_gesture could not be prepared: ") and "\n" not in message
    assert "user24_led_labels.csv cannot be read (No such file" in message


def test_frames_larger_than_the_sensor_are_refused(prepared):
    with pytest.raises(ValueError, match="^side must be at most 128.*received 129"):
        sources.load("dvs_cifar10", prepared, framing=events.Framing(side=129))
