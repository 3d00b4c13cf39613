"""Each kind of method on two replicas: the result of one process, or each its own share of it."""

import json
import os

import keras

from tests.distribution import test_replicas
from tests.distribution.test_replicas import run_together

BACKEND = keras.backend.backend()
# Besides those by which the suite compiles fast.
FLAGS = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
ENVIRONMENTS = {
    "torch": test_replicas.torch_data_distributed,
    "tensorflow": lambda: [{}],
    "jax": lambda: [{"XLA_FLAGS": FLAGS}],
}
# Optimizers that draw, or change weights after the update, neurons and encoders.
LIKE_ONE = ["random_rank_one+snn_rat+feel", "noise+clip+hosnn"]
# With terms of the loss, and with several updates per batch that carry an offset on.
IN_FIT = ["random_rank_one+snn_rat+dlif+sr+tg_reg", "hosnn+feel(learn_leaks=False)+free_at"]
# Draws per sample, statistics over samples, and the ascent of each replica's own loss.
BY_SHARE = "stog+mpd_sgr"


def test_methods_on_two_replicas(tmp_path):
    # torch has replicas in loops of one's own, without the train step of a method.
    like_one = LIKE_ONE if BACKEND == "torch" else IN_FIT
    by_share = BY_SHARE if BACKEND == "torch" else BY_SHARE + "+sam"
    run_together("methods", ENVIRONMENTS[BACKEND](), [tmp_path, *like_one, by_share], tmp_path)
    files = sorted(tmp_path.glob("found_*.json"))
    assert len(files) == (2 if BACKEND == "torch" else 1)
    for found in (json.loads(path.read_text()) for path in files):
        for method in [*like_one, by_share]:
            assert found[method]["copies"] == 0 and found[method]["moved"] > 1e-3, method
            # On JAX what belongs to the batch is that of the whole one.
            if method == by_share and BACKEND != "jax":
                assert found[method]["apart"] > 1e-4
            else:
                assert found[method]["apart"] < 1e-6, method
        if BACKEND == "torch":
            assert found["refused"] == (
                "replay must be None in several torch processes, which average the gradient of the "
                "last update alone; received a replay in 2; train in one."
            )
