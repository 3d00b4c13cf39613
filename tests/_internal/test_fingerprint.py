"""A file of other results is refused by the first value that differs."""

import pytest

from keras_dep._internal import fingerprint


@pytest.mark.parametrize(
    "found, words",
    [({"seed": 1, "tau": 2.0}, "tau=2.0; received 1.1"), ({"seed": 1}, "tau=None; received 1.1")],
)
def test_what_differs_is_named(found, words):
    with pytest.raises(ValueError, match=f"^a.json holds a run with {words}; delete it.$"):
        fingerprint.refuse_other("a.json", "a run", found, {"seed": 1, "tau": 1.1}, "delete it")


def test_what_is_the_same_passes():
    fingerprint.refuse_other("a.json", "a run", {"seed": 1, "more": 2}, {"seed": 1}, "delete it")
