"""Every test starts from the same seed and leaves the global dtype policy as it found it."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The same kernels on every processor, and those of the apps.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The suite's workers share the cores among themselves.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# What one worker, or a process it starts, has compiled with JAX the others need not.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".jax_cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Programs this small take longer to optimize than to run. XLA compiles for JAX and, where a
# function asks for it, for TensorFlow; its older emitters of fused loops take half the time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false",
)

import hypothesis
import pytest

# Models and graphs of earlier tests make each full collection slow; tests that need one ask for it.
gc.set_threshold(50_000, 20, 50)

# The same examples on every run: a failure here is a failure anywhere.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")


def pytest_sessionstart(session):
    """Keeps the framework's million objects out of every collection and search for a layer.

    They live as long as the process. Tests make their own objects later, at collection or run.
    """
    hands_out = getattr(session.config.option, "numprocesses", None)
    if hands_out and not hasattr(session.config, "workerinput"):
        return
    import keras  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_state():
    # The process that hands out the tests runs none and needs no Keras.
    import keras

    keras.utils.set_random_seed(0)
    policy = keras.mixed_precision.dtype_policy()
    yield
    keras.mixed_precision.set_dtype_policy(policy)
