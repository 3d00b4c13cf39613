"""The exit status of an app that runs in this process."""

import pytest
from absl.testing import flagsaver


def status_of(app, arguments):
    """Launches the module of an app with some arguments, and leaves its flags as they were."""
    saved = flagsaver.save_flag_values(app.FLAGS)
    with pytest.raises(SystemExit) as caught:
        app.launch([f"{app.__name__.rpartition('.')[2]}.py", *arguments])
    flagsaver.restore_flag_values(saved, app.FLAGS)
    return caught.value.code or 0
