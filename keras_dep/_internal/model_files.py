"""Reads and writes files of networks and weights, and verifies their checksums."""

import hashlib
import os
import zipfile
from typing import TypeAlias

import keras

from keras_dep._internal import atomic_io

Path: TypeAlias = str | os.PathLike[str]

_CHUNK = 2**20


def load_network(path: Path) -> keras.Model:
    """Verifies the checksums of a `.keras` file and loads its network for inference.

    Args:
        path: the file.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: the file is missing, damaged or truncated, names an unregistered layer, or holds
            no model; one line with the file and the mend.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/net.keras"
    >>> keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(path)
    >>> load_network(path).output_shape
    (None, 3)
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ValueError(f"model {path!r} is not there; name a .keras file that model.save wrote.")
    _check_archive(path)
    try:
        model = keras.saving.load_model(path, compile=False)
    # Keras raises any error of a layer's constructor and of the readers of JSON and HDF5.
    except Exception as error:
        raise ValueError(
            f"model {path!r} cannot be loaded ({_brief(_first(error))}); its layers must be "
            "Keras' own or registered with keras.saving.register_keras_serializable, and imported."
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"model {path!r} must hold a keras.Model; received a {type(model).__name__}; name a "
            ".keras file that model.save wrote."
        )
    return model


def save_network(network: keras.Model, path: Path) -> None:
    """Saves a network as a `.keras` file, atomically."""
    with atomic_io.whole_file(path) as unfinished:
        network.save(unfinished)


def save_weights(network: keras.Model, path: Path) -> None:
    """Saves a network's weights as `<path>`, and their checksum as `<path>.sha256`.

    The latter is in the format of `sha256sum`. Each file is written atomically, and the checksum
    beside a file of weights is never that of older weights.
    """
    path = os.fspath(path)
    if os.path.exists(_sum_path(path)):
        os.remove(_sum_path(path))
    with atomic_io.whole_file(path) as unfinished:
        network.save_weights(unfinished)
        digest = sha256(unfinished)
    with atomic_io.whole_file(_sum_path(path)) as unfinished, open(unfinished, "w") as file:
        file.write(f"{digest}  {os.path.basename(path)}\n")


def check_weights(path: Path) -> None:
    """Checks a file of weights against the checksum recorded beside it.

    Files of earlier revisions have no checksum and pass.

    Args:
        path: the file.

    Raises:
        ValueError: the checksum differs, or one of the two files cannot be read.
    """
    try:
        with open(_sum_path(path)) as file:
            recorded = file.read().split()[:1]
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ValueError(_damaged(path, f"its checksum cannot be read: {_brief(error)}")) from error
    try:
        found = sha256(path)
    except OSError as error:
        raise ValueError(_damaged(path, _brief(error))) from error
    if recorded != [found]:
        raise ValueError(_damaged(path, "the checksum does not fit"))


def load_weights(network: keras.Model, path: Path) -> None:
    """Loads a file of `save_weights` into a network; raises `ValueError` as `check_weights`."""
    check_weights(path)
    try:
        network.load_weights(path)
    except Exception as error:
        raise ValueError(_damaged(path, _brief(error))) from error


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check_archive(path: str) -> None:
    """Verifies the checksums of the members of a `.keras` file, which is a zip archive."""
    if not path.endswith(".keras"):
        return
    mend = "save or copy it again"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        raise ValueError(
            f"model {path!r} is damaged, cut short, or no .keras file ({_brief(error)}); {mend}."
        ) from error
    if damaged:
        raise ValueError(f"model {path!r} is damaged: the checksum of {damaged} is wrong; {mend}.")


def _damaged(path: Path, fault: str) -> str:
    """Returns the message about weights that cannot be used."""
    return (
        f"the weights in {os.fspath(path)!r} cannot be used ({fault}); remove the file, or train "
        "again."
    )


def _sum_path(path: Path) -> str:
    return f"{os.fspath(path)}.sha256"


def _first(error: BaseException) -> BaseException:
    """Returns the original error: Keras wraps that of a layer in one of its model."""
    while below := error.__cause__ or error.__context__:
        error = below
    return error


def _brief(error: BaseException) -> str:
    """Returns the class and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    return f"{type(error).__name__}: {lines[0][:200]}"
