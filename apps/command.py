"""From a command line to the exit status: what the apps share."""

import contextlib
import ctypes
import importlib.util
import os
import pathlib
import platform
import shlex
import signal
import sys
import warnings

from absl import flags

# As of a process that the signal of a broken pipe has ended.
UNREAD = 141
# As of a process that an interrupt from the keyboard has ended.
STOPPED = 130
# As malloc.h numbers them.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
ROOT = pathlib.Path(__file__).resolve().parents[1]


def finish(launch, argv):
    """Launches an app and ends the process at once with its exit status.

    At the interpreter's own end threads of a framework may still be at work, which crash then, and
    files on a full disk would be written once more, with a traceback.
    """
    try:
        launch(argv)
    except SystemExit as error:
        _leave(error.code or 0)


def launch(argv, name, about, flag_values, main, stopped):
    """Parses, chooses the backend, runs `main()`, and ends in `SystemExit`.

    Args:
        argv: the command line.
        name: the app's name, in front of its errors.
        about: text above the flags that `--help` lists.
        flag_values: the app's flags, `--backend` among them.
        main: function without arguments; its `ValueError` and `OSError` become one line.
        stopped: function that says what an interrupt has left.
    """

    def left():
        return stopped() if flag_values.is_parsed() else "nothing was begun."

    plain_warnings(name)
    with until_unread(), until_stopped(name, left):
        _run(argv, name, about, flag_values, main)


def plain_warnings(name):
    """Prints warnings as one line each; a path into the library helps no user of an app."""
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"


def set_up(backend):
    """What has to happen ahead of Keras' import: the framework, if given, and its processor."""
    keep_memory()
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow itself takes its fast kernels on some processors only; a training step of VGG-11
    # takes three times as long without.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_keras():
    """Imports Keras, and TensorFlow in silence where it computes, else not at all."""
    with alone("_internal/quiet").without_import_log():
        import keras  # noqa: F401

    from keras_dep._backend import aside

    aside.leave_out_tensorflow()


def alone(name):
    """A module of `keras_dep` that needs no framework: importing the package imports Keras."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "keras_dep" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def keep_memory():
    """Keeps what is freed with the process, where the C library is glibc.

    It would hand tensors of many megabytes back to the system at once and get them anew page by
    page, each of them cleared: a third of the processor time of a training step of ResNet-18 on
    torch. A user's own `MALLOC_MMAP_MAX_` is left alone.
    """
    if platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_MAX_" not in os.environ:
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


@contextlib.contextmanager
def until_unread():
    """Ends the process without a word when the reader of its output goes away, as `head` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written at the end of the process goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)


@contextlib.contextmanager
def until_stopped(name, stopped):
    """Makes SIGINT and SIGTERM in the block end the process at once: one line, and status 130.

    An exception in their place would come up anywhere, also inside an import, a destructor or a
    call from C, which swallow it, put their own in its place, or crash. Files are whole or absent
    at every instant, so nothing needs to be cleaned up.

    Args:
        name: the app's name.
        stopped: function that says what is left and how to go on.
    """
    try:
        told = os.dup(sys.stderr.fileno())  # also while the error output is held back
    except (OSError, ValueError):
        told = None

    def stop(number, frame):
        if told is not None:
            with contextlib.suppress(OSError):
                os.write(told, f"{name}: stopped; {stopped()}\n".encode())
        _leave(STOPPED)

    names = [getattr(signal, each) for each in ("SIGINT", "SIGTERM") if hasattr(signal, each)]
    before = {number: signal.signal(number, stop) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if told is not None:
            os.close(told)


def folder(name, value):
    """A folder that a flag names, with `~` for the user's own; `ValueError` where it is empty.

    A flag that was not given, `None`, stays so.
    """
    if value is None:
        return None
    if not value.strip():
        raise ValueError(
            f"{name} must name a folder; received {value!r}; leave it out or name one."
        )
    return os.path.expanduser(value)


@contextlib.contextmanager
def claimed(path):
    """Keeps other processes from the folder of results; `ValueError` where it cannot be written."""
    from keras_dep._internal import atomic_io

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(atomic_io.claimed(path))
        except OSError as error:
            raise ValueError(
                f"out_dir {path!r} cannot be written ({error.strerror}); choose another folder."
            ) from error
        yield


def board(folder):
    """The command that shows a folder in TensorBoard, as a shell takes it."""
    return f"tensorboard --logdir {shlex.quote(folder)}"


def entries(flag_values, name, kind=str):
    """The entries of a flag with commas, each of one kind, `str`, `int` or `float`.

    Raises:
        ValueError: an entry of another kind, a blank one, or one that occurs twice.
    """
    given = flag_values[name].value
    received = f"received {','.join(given)!r}"
    if not all(given):
        raise ValueError(f"{name} must have an entry on each side of a comma; {received}.")
    try:
        found = [kind(entry) for entry in given]
    except ValueError:
        what = {int: "whole numbers", float: "numbers"}[kind]
        raise ValueError(f"{name} must be {what} with commas between; {received}.") from None
    if len(set(found)) < len(found):
        raise ValueError(f"{name} must have each entry once; {received}.")
    return found


def fail(name, message, status=2):
    """One line to the error output, and the end."""
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(status)


def _run(argv, name, about, flag_values, main):
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(about)
        for flag in (flag_values[key] for key in flag_values):
            default = "" if flag.default in (None, []) else f" [{flag.default_as_str}]"
            print(f"  --{flag.name}: {flag.help}{default}")
        sys.exit(0)
    try:
        unnamed = flag_values(argv)[1:]
    except flags.Error as error:
        fail(name, error)
    if unnamed:
        fail(name, f"no positional arguments are taken; received {' '.join(unnamed)!r}.")
    set_up(flag_values.backend)
    import_keras()
    try:
        main()
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        fail(name, error)
    sys.exit(0)


def _leave(status):
    """Ends the process without the interpreter's own end."""
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        # A stream may be in the middle of a call, or its reader gone.
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
