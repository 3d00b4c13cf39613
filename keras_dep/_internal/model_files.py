"""Networks and weights read from files: whole and of the expected content, or one clear error."""

import hashlib
import os
import zipfile

import keras

from keras_dep._internal import atomic_io

_CHUNK = 2**20


def load_network(path):
    """Loads a `.keras` file for inference, after its checksums were found right.

    Args:
        path: the file.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: no such file, a damaged or truncated one, one that names a layer that nobody
            registered, or one that holds something else; one line with the file and the mend.

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
    # Keras passes on whatever a layer's constructor and the readers of JSON and HDF5 raise.
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


def save_network(network, path):
    """Saves a network as a `.keras` file, whole or not at all."""
    with atomic_io.whole_file(path) as unfinished:
        network.save(unfinished)


def save_weights(network, path):
    """Saves a network's weights as `<path>`, and their checksum as `<path>.sha256`.

    The latter is in the format of `sha256sum`. Each file is whole or absent, and a file of weights
    never stands beside the checksum of another.
    """
    path = os.fspath(path)
    if os.path.exists(_sum_path(path)):
        os.remove(_sum_path(path))
    with atomic_io.whole_file(path) as unfinished:
        network.save_weights(unfinished)
        digest = sha256(unfinished)
    with atomic_io.whole_file(_sum_path(path)) as unfinished, open(unfinished, "w") as file:
        file.write(f"{digest}  {os.path.basename(path)}\n")


def check_weights(path):
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


def load_weights(network, path):
    """Loads what `save_weights` saved into a network; raises `ValueError` as `check_weights`."""
    check_weights(path)
    try:
        network.load_weights(path)
    except Exception as error:
        raise ValueError(_damaged(path, _brief(error))) from error


def sha256(path):
    """The SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check_archive(path):
    """A `.keras` file is a zip archive, which keeps a checksum of each member."""
    if not path.endswith(".keras"):
        return
    mend = "save or copy it anew"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        raise ValueError(
            f"model {path!r} is damaged, cut short, or no .keras file ({_brief(error)}); {mend}."
        ) from error
    if damaged:
        raise ValueError(f"model {path!r} is damaged: the checksum of {damaged} is wrong; {mend}.")


def _damaged(path, what):
    """The message about weights that cannot be used."""
    return (
        f"the weights in {os.fspath(path)!r} cannot be used ({what}); remove the file, or train "
        "again."
    )


def _sum_path(path):
    return f"{os.fspath(path)}.sha256"


def _first(error):
    """The error that others were raised on top of: Keras wraps that of a layer in its model's."""
    while below := error.__cause__ or error.__context__:
        error = below
    return error


def _brief(error):
    """Kind and first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    return f"{type(error).__name__}: {lines[0][:200]}"
