"""Atomic file writes, and locks on folders of results."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Generator

try:
    import fcntl
except ImportError:  # Windows, where folders are not locked
    fcntl = None  # type: ignore[assignment]

CLAIM = "in_use.lock"


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Generator[str, None, None]:
    """Yields a temporary path; the file written there is renamed to `path` when the block ends.

    File and folder are flushed to the disk. If the block fails, the temporary file is removed, and
    an existing file at `path` stays as it was.

    Args:
        path: the final name, in a folder that exists.

    Yields:
        A path in the same folder with the same ending, which selects the format of some writers.

    Raises:
        OSError: the file cannot be written; one line with `path` and the free space.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/result.txt"
    >>> with whole_file(path) as unfinished, open(unfinished, "w") as file:
    ...     os.path.exists(path), file.write("7")
    (False, 1)
    >>> open(path).read()
    '7'
    """
    folder, name = os.path.split(os.path.abspath(path))
    unfinished = os.path.join(folder, f"part.{name}")
    try:
        yield unfinished
        _sync(unfinished, os.O_RDWR)
        os.replace(unfinished, path)
        # A rename survives a power cut only if its folder is flushed; Windows has no call for it.
        if hasattr(os, "O_DIRECTORY"):
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        if isinstance(error, OSError):
            reason = " ".join(str(error).split())
            message = f"cannot write {path}: {reason}; {free_bytes(folder)} bytes free"
            raise OSError(error.errno, message) from error
        raise


def try_folder(folder: str | os.PathLike) -> None:
    """Makes a folder if needed, and raises `OSError` if no file can be made in it."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=os.fspath(folder)):
        pass


@contextlib.contextmanager
def claimed(
    folder: str | os.PathLike, name: str = CLAIM, patience: float = 0.0
) -> Generator[None, None, None]:
    """Locks a folder of results against other processes during the block.

    The lock ends with the process, also if it is killed.

    Args:
        folder: created if needed.
        name: name of the lock's file. Locks of different names do not exclude each other.
        patience: seconds to wait for the end of another lock. A network file system may hold the
            lock of a dead machine for a while.

    Raises:
        ValueError: another process, or a block around this one, has locked it.
        OSError: no file can be made in it.

    Example:

    >>> import tempfile
    >>> with claimed(tempfile.mkdtemp() + "/run"):
    ...     pass
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    descriptor = _locked(path, folder, time.monotonic() + patience)
    try:
        yield
    finally:
        if descriptor is not None:
            # Removed while it is still locked, so that no lock of another process is removed.
            with contextlib.suppress(OSError):
                os.remove(path)
            os.close(descriptor)


def free_bytes(folder: str | os.PathLike) -> int | str:
    """Free space on the disk of a folder, or `"unknown"`."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return "unknown"


def _locked(path: str, folder: str | os.PathLike, until: float) -> int | None:
    """Opens and locks a file; returns its descriptor, or `None` if the system has no locks."""
    while fcntl is not None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have removed the file between the two calls.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() < until:
                time.sleep(0.5)
                continue
            raise ValueError(
                f"folder {os.fspath(folder)!r} is in use by another process; wait for its end, or "
                "choose another folder."
            ) from None
        except OSError:
            # Some network file systems have no locks.
            os.close(descriptor)
            return None
        os.close(descriptor)
    return None


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
