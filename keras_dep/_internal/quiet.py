"""Imports of TensorFlow without its log lines.

It uses the standard library alone: an app needs it before it imports Keras.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Generator

# Lines that TensorFlow logs during its import at any TF_CPP_MIN_LOG_LEVEL.
_LOGGED = re.compile(r"WARNING: All log messages before absl::InitializeLog|I0000 ")


@contextlib.contextmanager
def without_import_log() -> Generator[None, None, None]:
    """Drops the lines that TensorFlow logs to the error output while the block imports it.

    Other lines are written when the block ends.
    """
    try:
        sys.stderr.flush()
        errors = os.dup(2)
    except (OSError, ValueError, AttributeError):  # No error output exists.
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(errors, 2)
            os.close(errors)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines(keepends=True):
                if not _LOGGED.match(line):
                    sys.stderr.write(line)
