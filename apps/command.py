"""From a command line to the exit status: what the apps share."""

import contextlib
import ctypes
import os
import platform
import signal
import sys

from absl import flags

# As of a process that the signal of a broken pipe has ended.
UNREAD = 141
# As malloc.h numbers them.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# Seconds until an interrupt comes again.
AGAIN = 0.1


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
    with until_unread():
        _run(argv, name, about, flag_values, main, stopped)


def set_up(backend):
    """What has to happen ahead of Keras' import: the framework, if given, and its processor."""
    keep_memory()
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow itself takes its fast kernels on some processors only; a training step of VGG-11
    # takes three times as long without.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


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
def until_stopped():
    """Makes SIGINT and SIGTERM end the block in `KeyboardInterrupt`, whatever it makes of them.

    What calls Python from C may swallow an exception, as NumPy does where it makes an array, or
    raise its own in its place: the interrupt comes again until it is heeded, and an error behind
    one counts as it. No signal is left under way.
    """
    heard = []

    def stop(number, frame):
        heard.append(number)
        _alarm(AGAIN)
        # What cleans up after an interrupt is cut short by another from the user alone.
        heeded = isinstance(sys.exc_info()[1], KeyboardInterrupt)
        if number in (signal.SIGINT, signal.SIGTERM) or not heeded:
            raise KeyboardInterrupt

    names = [name for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        try:
            yield
        finally:
            if "SIGALRM" in before:
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
            for name, handler in before.items():
                _alarm(0)
                signal.signal(getattr(signal, name), handler)
    except Exception:
        if heard:
            raise KeyboardInterrupt from None
        raise


def fail(name, message, status=2):
    """One line to the error output, and the end."""
    print(f"{name}: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(status)


def _run(argv, name, about, flag_values, main, stopped):
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
    try:
        with until_stopped():
            main()
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        fail(name, error)
    except KeyboardInterrupt:
        fail(name, f"stopped; {stopped()}", 130)
    sys.exit(0)


def _alarm(seconds):
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
