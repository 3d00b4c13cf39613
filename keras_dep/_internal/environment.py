"""Versions and machine, recorded with each result."""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

import keras

from keras_dep import _version
from keras_dep._internal.types import Record


def environment() -> Record:
    """Versions, platform, device and commit.

    Returns:
        Dictionary of `versions` by package, `platform`, `device` (processor, or the accelerator
        that tensors lie on) and `commit`: of the checkout that holds the package, with `-dirty`
        where files were changed, or `None` for an installed package.

    Example:

    >>> sorted(environment())
    ['commit', 'device', 'platform', 'versions']
    """
    framework = keras.backend.backend()
    return {
        "versions": {
            "keras_dep": _version.__version__,
            **{name: importlib.metadata.version(name) for name in ("keras", framework, "numpy")},
            "python": platform.python_version(),
        },
        "platform": platform.platform(),
        "device": _device(),
        "commit": _commit(),
    }


def peak_memory() -> int | None:
    """The largest resident memory of this process so far in bytes, or `None` on Windows.

    Example:

    >>> peak_memory() > 2**20
    True
    """
    if resource is None:
        return None
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found


def _device() -> str:
    name = str(keras.ops.zeros(()).device)
    return _processor() if "cpu" in name.lower() else name


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2] for line in file if line.startswith("model name")]
    except OSError:
        names = []
    name = names[0].strip() if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


# Read once: what a process writes into the checkout does not change the code that it runs.
@functools.cache
def _commit() -> str | None:
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        # A virtual environment may be in the checkout of another project, which does not track it.
        _git(here, "ls-files", "--error-unmatch", os.path.basename(__file__))
        return _git(here, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: str, *arguments: str) -> str:
    command = ["git", "-C", folder, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return found.stdout.strip()
