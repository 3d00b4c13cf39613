"""Imports of TensorFlow without what it logs.

Standard library alone: an app needs it before it imports Keras.
"""

import contextlib
import os
import re
import sys
import tempfile

# What TensorFlow logs when it is imported, whatever TF_CPP_MIN_LOG_LEVEL says.
_LOGGED = re.compile(r"WARNING: All log messages before absl::InitializeLog|I0000 ")


@contextlib.contextmanager
def without_import_log():
    """Leaves out of the error output what TensorFlow logs while it is imported in the block.

    Whatever else is written there comes when the block ends.
    """
    try:
        sys.stderr.flush()
        errors = os.dup(2)
    except (OSError, ValueError, AttributeError):  # there is no error output
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
