"""Files whole or absent, whatever gives out; and folders that one process alone writes to."""

import contextlib
import os
import shutil
import tempfile

try:
    import fcntl
except ImportError:  # Windows, where folders are not claimed
    fcntl = None

CLAIM = "in_use.lock"


@contextlib.contextmanager
def whole_file(path):
    """Gives a path to write to, whose file takes the name `path` only once the block has ended.

    The file and its folder have then reached the disk. A block that fails leaves nothing behind,
    and whatever was under `path` before stays as it was.

    Args:
        path: the final name, in a folder that exists.

    Yields:
        A path in the same folder with the same ending, as some writers go by it.

    Raises:
        OSError: the file could not be written; one line with `path` and the free space.

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
        # A rename survives a power cut only once its folder is on the disk; Windows has no call.
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


def try_folder(folder):
    """Makes a folder where there is none, and raises `OSError` unless files can be made in it."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextlib.contextmanager
def claimed(folder):
    """Keeps other processes from a folder of results for the time of the block.

    The system gives the folder back when the process ends, however it ends.

    Args:
        folder: created if needed.

    Raises:
        ValueError: another process has it, or so has a block around this one.
        OSError: no file can be made in it.

    Example:

    >>> import tempfile
    >>> with claimed(tempfile.mkdtemp() + "/run"):
    ...     pass
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, CLAIM)
    descriptor = _locked(path, folder)
    try:
        yield
    finally:
        if descriptor is not None:
            # Removed while it is still locked, so that nobody's claim is removed.
            with contextlib.suppress(OSError):
                os.remove(path)
            os.close(descriptor)


def free_bytes(folder):
    """Free space on the disk of a folder, or `"unknown"` where it cannot be asked."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return "unknown"


def _locked(path, folder):
    """An open and locked file of that name, or `None` where there are no such locks."""
    while fcntl is not None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have removed the file between the two calls.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
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


def _sync(path, flags):
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
