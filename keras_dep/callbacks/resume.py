"""The callback that saves a run after every epoch, so that a broken-off run goes on exactly.

A state is one file: magic, length of the header, JSON header, raw array bytes, SHA-256 of it all.
Two files take turns by the parity of the epoch, each written beside its final name and renamed into
place, so that at every instant one whole generation lies on the disk, also while a run is killed.
"""

import hashlib
import itertools
import json
import os
import struct
import warnings

import keras
import numpy as np

from keras_dep._internal import atomic_io

MAGIC = b"KDEPRUN1"
_PREFIX = struct.Struct("<8sQ")
_DIGEST_SIZE = hashlib.sha256().digest_size


class ResumeState(keras.callbacks.Callback):
    """Saves the whole training state at each epoch's end and brings it back after a crash.

    Saved are the model's variables (weights, normalisation statistics, seed generators), the
    optimizer's (moments, iterations, learning rate), the counters of other callbacks, and the
    history. A resumed run ends with the very weights of an unbroken one if its batches depend on
    nothing but (seed, epoch, index) and every random layer draws from a seed generator: the global
    generators of NumPy and of the frameworks are not saved. On torch, `keras.layers.Dropout`
    without a `seed` draws from such a global one.

    List it after the callbacks whose work at the epoch's end belongs to the state.

    Args:
        path: the state goes to `<path>.0` and `<path>.1`; the folder is created if needed. Room for
            three copies is needed: two generations and the one being written.
        callbacks: objects whose counters belong to the run, as a list, or as a dict from name to
            object. Each has `get_state() -> JSON-able dict` and `set_state(dict)`. The latter is
            called by `restore` and again when training begins, as callbacks often start anew there.
        data: data set that counts its epochs in an attribute `epoch`, such as
            `keras_dep.data.Batches`; `restore` sets it to the epoch that comes next.
        metadata: JSON-able dict of what identifies the run, such as its flags. `restore` refuses a
            state with another one.

    Attributes:
        epochs_completed: epochs in the last state saved or restored.
        iterations: optimizer iterations in that state.
        finished: whether that state is the end of a `fit` that ran to its end.
        history: dict from metric to its value per epoch, over all restarts.

    Raises:
        ValueError: an argument of another kind, a path that cannot be written, a state of another
            run, a state in the way of a fresh run, or no readable generation.
        OSError: a state could not be written; the message has the path and the free space.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> state = ResumeState(tempfile.mkdtemp() + "/state")
    >>> first_epoch = state.restore(model)
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> _ = model.fit(x, y, 4, 2, 0, [state], initial_epoch=first_epoch)
    >>> first_epoch, state.restore(model)
    (0, 2)
    """

    def __init__(self, path, callbacks=(), data=None, metadata=None):
        super().__init__()
        if not isinstance(path, (str, os.PathLike)) or not os.path.basename(os.fspath(path)):
            raise ValueError(
                f"path must name a file without ending; received {path!r}; "
                "write for example 'runs/first/state'."
            )
        self.path = os.path.abspath(os.fspath(path))
        self.callbacks = _check_participants(callbacks)
        if data is not None and not hasattr(data, "epoch"):
            raise ValueError(
                f"data must have an attribute epoch; received a {type(data).__name__}; "
                "leave it out if its batches are the same in every epoch."
            )
        self.data = data
        self.metadata = json.loads(_to_json(metadata or {}, "metadata"))
        self.epochs_completed = 0
        self.iterations = 0
        self.finished = False
        self.history = {}
        self._claimed = False
        self._counters = {}

    @property
    def paths(self):
        """The two files, the one of even epochs first."""
        return f"{self.path}.0", f"{self.path}.1"

    def restore(self, model):
        """Brings back the newest whole state, to be called before `fit`.

        Args:
            model: built and compiled; its optimizer is built here if needed.

        Returns:
            Epochs completed, to be handed to `fit` as `initial_epoch`; 0 without a state.
        """
        _check_ready(model)
        header, arrays = self._read_newest()
        if header is None:
            self._claimed = True
            return 0
        self._check_same_run(header)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables, layout, _ = _snapshot(model)
        _check_layout(self.path, header, layout, type(model.optimizer).__name__)
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.epochs_completed = header["epochs_completed"]
        self.iterations = header["iterations"]
        self.finished = header["finished"]
        self.history = header["history"]
        self._claimed = True
        self._counters = header["counters"]
        self._hand_back_counters()
        if self.data is not None:
            self.data.epoch = self.epochs_completed
        return self.epochs_completed

    def on_train_begin(self, logs=None):
        _check_writable(self.path)
        in_the_way = [path for path in self.paths if os.path.exists(path)]
        if in_the_way and not self._claimed:
            raise ValueError(
                f"{in_the_way[0]} holds the state of another run; received a fit without restore; "
                "call restore(model) before it, or choose another path."
            )
        self._claimed = True
        self._hand_back_counters()
        self._counters = {}

    def on_epoch_begin(self, epoch, logs=None):
        if self.epochs_completed and epoch != self.epochs_completed:
            raise ValueError(
                f"fit must go on at epoch {self.epochs_completed}; received epoch {epoch}; "
                f"write fit(..., initial_epoch={self.epochs_completed})."
            )

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(np.asarray(value).tolist())
        self._save(epoch + 1, finished=False)

    def on_train_end(self, logs=None):
        # Other callbacks may have exchanged the weights by now, for their best or their average.
        if self.epochs_completed:
            self._save(self.epochs_completed, finished=True)

    def _save(self, epochs_completed, finished):
        _, layout, arrays = _snapshot(self.model)
        header = {
            "epochs_completed": epochs_completed,
            "iterations": int(self.model.optimizer.iterations),
            "finished": finished,
            "optimizer": type(self.model.optimizer).__name__,
            "fingerprint": _fingerprint(layout),
            "variables": layout,
            "counters": {name: item.get_state() for name, item in self.callbacks.items()},
            "history": self.history,
            "metadata": self.metadata,
        }
        text = _to_json(header, "get_state() and the logs").encode()
        path = self.paths[epochs_completed % 2]
        try:
            with atomic_io.whole_file(path) as unfinished:
                _write(unfinished, [_PREFIX.pack(MAGIC, len(text)), text], arrays)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; make room, then resume from epoch {self.epochs_completed}",
            ) from error
        self.epochs_completed = epochs_completed
        self.iterations = header["iterations"]
        self.finished = finished

    def _read_newest(self):
        found, damaged = [], {}
        for path in self.paths:
            if not os.path.exists(path):
                continue
            try:
                found.append(_read_whole(path))
            except _DamageError as error:
                damaged[path] = str(error)
        if damaged and not found:
            raise ValueError(
                f"no generation of the training state can be read; received {damaged}; "
                "remove these files to start from the beginning."
            )
        found.sort(key=lambda state: state[0]["epochs_completed"])
        for path, damage in damaged.items():
            warnings.warn(
                f"the training state {path} is damaged ({damage}); going back to the other "
                f"generation, epoch {found[-1][0]['epochs_completed']}",
                stacklevel=3,
            )
        return found[-1] if found else (None, None)

    def _check_same_run(self, header):
        if header["metadata"] != self.metadata:
            name, saved, received = _first_difference("metadata", header["metadata"], self.metadata)
            raise ValueError(
                f"{self.path} holds the state of a run with {name}={saved!r}; received "
                f"{received!r}; choose another path or the same settings."
            )
        if set(header["counters"]) != set(self.callbacks):
            raise ValueError(
                f"{self.path} holds the counters of {sorted(header['counters'])}; received "
                f"{sorted(self.callbacks)}; pass the same callbacks."
            )

    def _hand_back_counters(self):
        for name, counters in self._counters.items():
            self.callbacks[name].set_state(counters)


class _DamageError(Exception):
    """A state file that cannot be trusted."""


def _write(path, heading, arrays):
    """All of it and its digest."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for piece in itertools.chain(heading, (array.tobytes() for array in arrays)):
            file.write(piece)
            digest.update(piece)
        file.write(digest.digest())


def _read_whole(path):
    """Header and arrays of a state whose digest is right."""
    try:
        with open(path, "rb") as file:
            content = memoryview(file.read())
    except OSError as error:
        raise _DamageError(error.strerror or str(error)) from error
    body = content[:-_DIGEST_SIZE]
    if hashlib.sha256(body).digest() != content[-_DIGEST_SIZE:]:
        raise _DamageError("the checksum does not fit")
    magic, length = _PREFIX.unpack_from(body)
    if magic != MAGIC:
        raise ValueError(
            f"{path} must start with {MAGIC!r}; received {magic!r}, the format of another version; "
            "resume with that version of keras_dep."
        )
    start = _PREFIX.size + length
    header = json.loads(bytes(body[_PREFIX.size : start]))
    arrays = []
    for entry in header["variables"]:
        array = np.ndarray(entry["shape"], entry["dtype"], buffer=body, offset=start)
        arrays.append(array.copy())
        start += array.nbytes
    return header, arrays


def _snapshot(model):
    """Everything that training changes, in a fixed order: variables, their layout, their values."""
    owned = {id(variable): ("model", variable) for variable in model.variables}
    for variable in model.optimizer.variables:
        owned.setdefault(id(variable), ("optimizer", variable))
    arrays = [keras.ops.convert_to_numpy(variable.value) for _, variable in owned.values()]
    layout = [
        {"of": owner, "path": variable.path, "shape": list(array.shape), "dtype": array.dtype.name}
        for (owner, variable), array in zip(owned.values(), arrays, strict=True)
    ]
    return [variable for _, variable in owned.values()], layout, arrays


def _fingerprint(layout):
    # Paths are left out: Keras numbers layers anew in every process.
    kinds = [_kind(entry) for entry in layout if entry["of"] == "model"]
    return hashlib.sha256(json.dumps(kinds).encode()).hexdigest()


def _kind(entry):
    return None if entry is None else [entry["shape"], entry["dtype"]]


def _check_layout(path, header, layout, optimizer):
    if header["fingerprint"] != _fingerprint(layout):
        _refuse_first_difference(path, "model", header["variables"], layout)
    if header["optimizer"] != optimizer:
        raise ValueError(
            f"{path} holds the state of the optimizer {header['optimizer']}; received {optimizer}; "
            "compile the model with the same optimizer."
        )
    _refuse_first_difference(path, "optimizer", header["variables"], layout)


def _refuse_first_difference(path, owner, saved, received):
    owned = [[entry for entry in side if entry["of"] == owner] for side in (saved, received)]
    for old, new in itertools.zip_longest(*owned):
        if _kind(old) != _kind(new):
            raise ValueError(
                f"{path} holds the state of another {owner}: it has {_name(old)}; received "
                f"{_name(new)}; build the same {owner} or choose another path."
            )


def _name(entry):
    return f"{entry['path']} {entry['dtype']}{entry['shape']}" if entry else "no variable there"


def _first_difference(name, saved, received):
    if not (isinstance(saved, dict) and isinstance(received, dict)):
        return name, saved, received
    pairs = {
        key: (saved.get(key, "absent"), received.get(key, "absent")) for key in saved | received
    }
    key = next(key for key, (old, new) in pairs.items() if old != new)
    return _first_difference(f"{name}.{key}", *pairs[key])


def _check_ready(model):
    if not model.built or getattr(model, "optimizer", None) is None:
        missing = "built" if not model.built else "compiled"
        raise ValueError(
            f"restore needs a built and compiled model; received {model.name!r}, not {missing}; "
            "call it on one batch, or compile it, first."
        )


def _check_participants(callbacks):
    if not isinstance(callbacks, dict):
        callbacks = {f"{type(item).__name__} {i}": item for i, item in enumerate(callbacks)}
    for name, callback in callbacks.items():
        if not (hasattr(callback, "get_state") and hasattr(callback, "set_state")):
            raise ValueError(
                f"callbacks must have get_state() and set_state(); received {name!r} without; "
                "add the two methods, or leave it out."
            )
    return dict(callbacks)


def _check_writable(path):
    folder = os.path.dirname(path)
    try:
        atomic_io.try_folder(folder)
    except OSError as error:
        raise ValueError(
            f"path must be in a folder that can be written; received {path} ({error}; "
            f"{atomic_io.free_bytes(folder)} bytes free); choose another path or mend its "
            "permissions."
        ) from error


def _to_json(value, name):
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold only what JSON can: dicts, lists, strings and numbers; "
            f"received others ({error}); convert them."
        ) from error
