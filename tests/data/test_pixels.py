"""Scaled pixels against division in double precision, and what is refused."""

import numpy as np
import pytest

from keras_dep.data import pixels


def test_every_grey_level_is_the_nearest_float32():
    levels = np.arange(256, dtype="uint8").reshape(4, 4, 4, 4)
    found = pixels.scaled(levels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (levels / 255.0).astype("float32"))
    # As every room once wrote it.
    np.testing.assert_array_equal(found, levels.astype("float32") / np.float32(255))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_keep_their_values(dtype):
    images = np.linspace(0, 1, 9).astype(dtype)
    np.testing.assert_array_equal(pixels.scaled(images), images.astype("float32"))


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="images must be uint8, or float .*; received int64"):
        pixels.scaled(np.zeros(3, "int64"))
