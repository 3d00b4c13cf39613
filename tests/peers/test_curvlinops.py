"""Hessian and Gauss-Newton products against curvlinops' operators on a torch twin."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.curvature.operators import GaussNewton
from keras_dep.curvature.operators import Hessian
from keras_dep.losses import MeanLogitCrossentropy

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
curvlinops = pytest.importorskip("curvlinops")

from tests.support.curvature_problems import NETWORKS  # noqa: E402
from tests.support.curvature_problems import problem  # noqa: E402

PEERS = {Hessian: curvlinops.HessianLinearOperator, GaussNewton: curvlinops.GGNLinearOperator}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
def test_products_over_uneven_batches(kind, network):
    """The peer differentiates forward over reverse, ours reverse over reverse."""
    model, twin, x, y = problem(network)
    parts = [slice(0, 12), slice(12, 24), slice(24, None)]
    batches = [(torch.tensor(x[part]), torch.tensor(y[part]).long()) for part in parts]
    peer = PEERS[kind](twin, torch.nn.CrossEntropyLoss(), list(twin.parameters()), batches)
    operator = kind(model, MeanLogitCrossentropy())
    product = operator.at(x, y, batch_size=12)
    for draw in np.random.default_rng(0).standard_normal((3, operator.dimension)):
        vector = draw.astype("float32")
        expected = (peer @ torch.tensor(vector)).detach().numpy()
        found = ops.convert_to_numpy(product(ops.convert_to_tensor(vector)))
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
