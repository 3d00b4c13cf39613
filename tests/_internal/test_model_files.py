"""Networks and weights in files: every damage found, one line each."""

import pathlib
import zipfile

import keras
import numpy as np
import pytest

from keras_dep._internal import model_files


@keras.saving.register_keras_serializable("tests")
class Known(keras.layers.Dense):
    pass


class Unregistered(keras.layers.Dense):
    pass


def network(layer=keras.layers.Dense):
    return keras.Sequential([keras.Input((4,)), layer(3)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.keras"
    network().save(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, saved):
    path = tmp_path / "net.keras"
    path.write_bytes(saved)
    return path


def refusal(path):
    with pytest.raises(ValueError) as caught:
        model_files.load_network(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 500
    return message


def test_a_whole_file_is_loaded(path):
    model = model_files.load_network(path)
    assert model.output_shape == (None, 3)
    assert model_files.load_network(str(path)).count_params() == 15


def test_every_flipped_byte_of_a_member_is_found(path, saved):
    with zipfile.ZipFile(path) as archive:
        spans = {
            info.filename: (info.header_offset + 30 + len(info.filename), info.file_size)
            for info in archive.infolist()
        }
    assert set(spans) == {"metadata.json", "config.json", "model.weights.h5"}
    for name, (start, size) in spans.items():
        for place in {start, start + size // 3, start + size - 1}:
            content = bytearray(saved)
            content[place] ^= 4
            path.write_bytes(content)
            assert f"the checksum of {name} is wrong" in refusal(path)


@pytest.mark.parametrize("size", [0, 1, 100, 2000, -1, -30])
def test_a_cut_file_is_one_line(path, saved, size):
    path.write_bytes(saved[:size])
    assert "is damaged, cut short, or no .keras file" in refusal(path)


def test_what_is_no_network_is_one_line(path, tmp_path):
    assert "is not there" in refusal(tmp_path / "gone.keras")
    assert "is not there" in refusal(tmp_path)
    path.write_text("{}")
    assert "no .keras file" in refusal(path)
    rewrite(path, network(), {"config.json": b"{"})
    assert "cannot be loaded (JSONDecodeError" in refusal(path)
    rewrite(path, network(), {"config.json": b"[]"})
    assert "cannot be loaded" in refusal(path)
    rewrite(path, network(), {"model.weights.h5": b"nothing"})
    assert "cannot be loaded" in refusal(path)
    rewrite(path, network(), {"model.weights.h5": None})
    assert "cannot be loaded" in refusal(path)


def test_a_layer_that_nobody_registered_is_named(path):
    network(Unregistered).save(path)
    message = refusal(path)
    assert "Unregistered" in message and "register_keras_serializable" in message
    network(Known).save(path)
    assert isinstance(model_files.load_network(path).layers[0], Known)


def test_weights_with_another_checksum_or_shape_are_refused(tmp_path):
    path = tmp_path / "1.weights.h5"
    one, other = network(), network()
    model_files.save_weights(one, path)
    model_files.load_weights(other, path)
    for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 40):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=f"{path}.*the checksum does not fit"):
            model_files.load_weights(other, path)
    path.write_bytes(content)
    wider = keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)])
    with pytest.raises(ValueError, match=f"{path}.*cannot be used") as caught:
        model_files.load_weights(wider, path)
    assert "\n" not in str(caught.value)
    # The checksum itself may be damaged, or of other weights.
    for left in ("", "0" * 64, "\0"):
        pathlib.Path(f"{path}.sha256").write_text(left)
        with pytest.raises(ValueError, match=f"{path}.*the checksum does not fit"):
            model_files.check_weights(path)
    # Revisions before this one recorded none.
    pathlib.Path(f"{path}.sha256").unlink()
    model_files.load_weights(other, path)


def test_weights_written_again_never_stand_beside_an_older_checksum(tmp_path, monkeypatch):
    path = tmp_path / "1.weights.h5"
    model_files.save_weights(network(), path)
    monkeypatch.setattr(
        model_files, "sha256", lambda path: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        model_files.save_weights(network(), path)
    assert [each.name for each in tmp_path.iterdir()] == ["1.weights.h5"]


def rewrite(path, model, members):
    """Saves a model, then changes members of its archive; `None` leaves one out."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)
