"""Programs that JAX compiled for one model serve the next of the same layers."""

import os

import keras
import numpy as np
import pytest

from keras_dep import _backend

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="other backends compile each model anew"
)


@pytest.fixture(autouse=True)
def no_folder():
    import jax

    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def answer(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    return model.predict_on_batch(np.ones((4, 3), "float32")), model.get_weights()


def test_a_second_model_is_not_compiled_again():
    import jax

    with _backend.programs_kept():
        folder = jax.config.jax_compilation_cache_dir
        answer(0)
        programs = set(os.listdir(folder))
        found, (kernel, bias) = answer(1)
        assert programs and set(os.listdir(folder)) == programs
    np.testing.assert_allclose(found, np.ones((4, 3)) @ kernel + bias, rtol=1e-5)
    assert not os.path.exists(folder) and jax.config.jax_compilation_cache_dir is None


def test_a_folder_of_the_user_stays(tmp_path):
    import jax

    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    with _backend.programs_kept():
        assert jax.config.jax_compilation_cache_dir == str(tmp_path)
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)
