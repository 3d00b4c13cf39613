"""Command lines, environment, signals and exit statuses of the apps."""

import contextlib
import importlib.machinery
import importlib.util
import os
import pathlib
import platform
import shlex
import signal
import sys
import types
import warnings
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from absl import flags

# The statuses of a shell for a process ended by SIGPIPE and by SIGINT.
BROKEN_PIPE = 141
INTERRUPTED = 130
# Settings of glibc's allocator: blocks of any size come from the heap, which never shrinks.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}
ROOT = pathlib.Path(__file__).resolve().parents[1]


def finish(launch: Callable[[Sequence[str]], None], argv: Sequence[str]) -> None:
    """Runs an app as the whole process, and ends it with the app's exit status.

    The interpreter's own shutdown is skipped: threads of a framework may still run and crash in it,
    and files on a full disk would be flushed again, with a traceback.

    Args:
        launch: function of the command line that ends in `SystemExit`.
        argv: the command line.
    """
    keep_memory()
    try:
        launch(argv)
    except SystemExit as error:
        _leave(error.code or 0)


def keep_memory() -> None:
    """Starts Python again with `KEEP_MEMORY` in the environment, where the C library is glibc.

    By default glibc returns tensors of many megabytes to the system and gets them back page by
    page, each of them cleared: a third of the processor time of a training step of ResNet-18 on
    torch. glibc reads these variables at the start of a process only. `MALLOC_MMAP_MAX_` set by the
    user is left alone.
    """
    if platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_MAX_" not in os.environ:
        os.environ.update(KEEP_MEMORY)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def launch(
    argv: Sequence[str],
    name: str,
    about: str,
    flag_values: flags.FlagValues,
    main: Callable[[], None],
    stopped: Callable[[], str],
) -> None:
    """Parses the flags, chooses the backend, runs `main()`, and ends in `SystemExit`.

    Args:
        argv: the command line.
        name: the app's name, the prefix of its errors.
        about: text that `--help` prints above the flags.
        flag_values: the app's flags, `--backend` among them.
        main: the app; its `ValueError` and `OSError` are printed as one line.
        stopped: returns the message for an interrupt: which files are there, and how to resume.
    """

    def message():
        return stopped() if flag_values.is_parsed() else "nothing was begun."

    plain_warnings(name)
    with until_unread(), until_stopped(name, message):
        _run(argv, name, about, flag_values, main)


def plain_warnings(name: str) -> None:
    """Prints each warning as one line, without the path into a library, and the same text once."""
    shown = set()

    def one_line(message: Warning | str, *_: Any, **__: Any) -> str:
        text = f"{name}: {message}\n"
        if text in shown:
            return ""
        shown.add(text)
        return text

    warnings.formatwarning = one_line


def set_up(backend: str | None) -> None:
    """Sets the environment variables that Keras and TensorFlow read when they are imported.

    Args:
        backend: name of the framework; `None` leaves the choice to Keras.
    """
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow enables its fast kernels on some processors only; without them a training step of
    # VGG-11 takes three times as long.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_keras() -> None:
    """Imports Keras without TensorFlow's log lines, and without TensorFlow on other backends."""
    with alone("_internal/quiet").without_import_log():
        import keras  # noqa: F401

    from keras_dep._backend import aside

    aside.leave_out_tensorflow()


def alone(name: str) -> types.ModuleType:
    """Loads a module of `keras_dep` without the package, whose import takes seconds.

    Args:
        name: path below `keras_dep`, without `.py`, of a module that needs no framework.
    """
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "keras_dep" / f"{name}.py"))
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader))
    loader.exec_module(module)
    return module


@contextlib.contextmanager
def until_unread() -> Generator[None, None, None]:
    """Ends the process silently when the reader of its output closes the pipe, as `head` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Discards the output that is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


@contextlib.contextmanager
def until_stopped(name: str, stopped: Callable[[], str]) -> Generator[None, None, None]:
    """Ends the process on SIGINT or SIGTERM in the block, with one line and status 130.

    A handler that raises is not enough: an import, a destructor or a call from C may swallow the
    exception, replace it or crash. Ending at once needs no clean-up, because files are written
    atomically.

    Args:
        name: the app's name.
        stopped: returns the message: which files are there, and how to resume.
    """
    try:
        errors = os.dup(sys.stderr.fileno())  # works while the error output is redirected
    except (OSError, ValueError):
        errors = None

    def stop(number: int, frame: types.FrameType | None) -> None:
        if errors is not None:
            with contextlib.suppress(OSError):
                os.write(errors, f"{name}: stopped; {stopped()}\n".encode())
        _leave(INTERRUPTED)

    names = [getattr(signal, each) for each in ("SIGINT", "SIGTERM") if hasattr(signal, each)]
    before = {number: signal.signal(number, stop) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if errors is not None:
            os.close(errors)


def distribute(
    engine: str | None, statistics: str = "synchronised", devices: int | None = None
) -> None:
    """Joins the workers of `--distribute`; nothing happens without it.

    Args:
        engine: an engine of `keras_dep.distribution.start`, or `None`.
        statistics: the statistics of normalisation there.
        devices: the devices of one process there.

    Raises:
        ValueError: see `keras_dep.distribution.start`; or devices without an engine.
    """
    from keras_dep import distribution

    if engine is not None:
        distribution.start(engine, statistics, devices)
    elif statistics != "synchronised":
        raise ValueError(
            f"statistics={statistics} needs an engine; received none; set --distribute."
        )
    elif devices is not None:
        raise ValueError(f"devices={devices} needs an engine; received none; set --distribute.")


def speaks() -> bool:
    """Whether this process prints the results: the chief of its workers does."""
    from keras_dep import distribution

    return distribution.workers().chief


def part() -> None:
    """Waits for the other workers before the process ends."""
    from keras_dep import distribution

    distribution.workers().leave()


def folder(name: str, value: str | None) -> str | None:
    """The folder that a flag names, with `~` expanded.

    Args:
        name: the flag, for the message.
        value: its value; `None`, for a flag that was not given, is returned as it is.

    Raises:
        ValueError: the value is blank.
    """
    if value is None:
        return None
    if not value.strip():
        raise ValueError(
            f"{name} must name a folder; received {value!r}; leave it out or name one."
        )
    return os.path.expanduser(value)


@contextlib.contextmanager
def claimed(path: str) -> Generator[None, None, None]:
    """Keeps other processes from a folder of results during the block; the chief does it.

    Raises:
        ValueError: the folder cannot be written, or another process uses it.
    """
    from keras_dep._internal import atomic_io

    if not speaks():
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(atomic_io.claimed(path))
        except OSError as error:
            raise ValueError(
                f"out_dir {path!r} cannot be written ({error.strerror}); choose another folder."
            ) from error
        yield


def board(folder: str) -> str:
    """The shell command that shows a folder in TensorBoard."""
    return f"tensorboard --logdir {shlex.quote(folder)}"


def entries(
    flag_values: flags.FlagValues, name: str, kind: type = str, distinct: bool = True
) -> list:
    """The entries of a comma-separated flag.

    Args:
        flag_values: the app's flags.
        name: the flag.
        kind: `str`, `int` or `float`, the type of the entries.
        distinct: whether an entry may occur once only.

    Raises:
        ValueError: an entry of another type, a blank one, or one that occurs twice.
    """
    given: list[str] = flag_values[name].value or []
    received = f"received {','.join(given)!r}"
    if not all(given):
        raise ValueError(f"{name} must have an entry on each side of a comma; {received}.")
    try:
        found = [kind(entry) for entry in given]
    except ValueError:
        what = {int: "whole numbers", float: "numbers"}[kind]
        raise ValueError(f"{name} must be {what} with commas between; {received}.") from None
    if distinct and len(set(found)) < len(found):
        raise ValueError(f"{name} must have each entry once; {received}.")
    return found


def fail(name: str, message: object, status: int = 2) -> NoReturn:
    """Prints one line to the error output and exits.

    Args:
        name: the app's name.
        message: an error, or its text; line breaks become spaces.
        status: the exit status.
    """
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(status)


def _run(
    argv: Sequence[str],
    name: str,
    about: str,
    flag_values: flags.FlagValues,
    main: Callable[[], None],
) -> NoReturn:
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


def _leave(status: int | str) -> NoReturn:
    """Flushes the output and ends the process without the interpreter's shutdown."""
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        # A signal may have interrupted a call of the stream, or its reader may be gone.
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
