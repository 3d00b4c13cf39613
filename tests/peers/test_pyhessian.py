"""The Hessian's leading eigenvalues against PyHessian's on a torch twin with the same weights."""

import keras
import numpy as np
import pytest

from keras_dep.curvature import power_iteration
from keras_dep.curvature.operators import Hessian
from keras_dep.losses import MeanLogitCrossentropy

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
pyhessian = pytest.importorskip("pyhessian")

from tests.support.curvature_problems import NETWORKS  # noqa: E402
from tests.support.curvature_problems import problem  # noqa: E402

COUNT = 5

pytestmark = pytest.mark.filterwarnings("ignore:Using backward")


@pytest.mark.parametrize("kind", NETWORKS)
def test_top_five_by_lanczos(kind):
    """The peer runs to the end of its iteration, since its usual rule may stop far from it."""
    model, twin, x, y = problem(kind)
    torch.manual_seed(0)  # the peer's start vectors
    expected, _ = _peer(twin, x, y).eigenvalues(maxIter=3000, tol=1e-8, top_n=COUNT)
    found = Hessian(model, MeanLogitCrossentropy()).spectrum(x, y, COUNT, tolerance=1e-4)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=0.01)


@pytest.mark.parametrize("kind", NETWORKS)
def test_top_five_in_compatible_mode(kind, monkeypatch):
    """Start vectors, tolerance and limit are shared, and so is where it stops."""
    model, twin, x, y = problem(kind)
    hessian = Hessian(model, MeanLogitCrossentropy())
    starts = np.random.default_rng(3).standard_normal((COUNT, hessian.dimension)).astype("float32")
    peer = _peer(twin, x, y)
    draws = iter(
        torch.tensor(part)
        for start in starts
        for part in np.split(start, np.cumsum([w.numel() for w in twin.weights])[:-1])
    )
    monkeypatch.setattr(torch, "randn", lambda size: next(draws).reshape(size))
    expected, _ = peer.eigenvalues(maxIter=100, tol=1e-3, top_n=COUNT)
    found = power_iteration(hessian.at(x, y), hessian.dimension, COUNT, starts=starts)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=0.01)


def _peer(twin, x, y):
    data = torch.tensor(x), torch.tensor(y).long()
    return pyhessian.hessian(twin, torch.nn.functional.cross_entropy, data=data, cuda=False)
