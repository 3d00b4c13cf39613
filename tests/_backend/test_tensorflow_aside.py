"""TensorFlow stays out of a process in which another framework computes."""

import pathlib
import random
import subprocess
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
SEEDED_AND_SAVED = """
import sys, random
import keras, numpy
from keras_dep._backend import aside
aside.leave_out_tensorflow()
keras.utils.set_random_seed(3)
drawn = [random.random(), numpy.random.random(), float(keras.random.uniform(()))]
keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(sys.argv[1])
print(drawn, "tensorflow" in sys.modules)
"""


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow computes there")
def test_seeds_and_files_do_not_import_it_and_draws_stay_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SEEDED_AND_SAVED, str(tmp_path / "net.keras")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Pytest's own process draws with whatever Keras imports.
    keras.utils.set_random_seed(3)
    drawn = [random.random(), np.random.random(), float(keras.random.uniform(()))]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{drawn} False\n", "")
