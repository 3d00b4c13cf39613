"""Whole Hessians against `torch.func.hessian` of a twin written in torch."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.curvature.operators import Hessian
from keras_dep.losses import MeanLogitCrossentropy

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch function", allow_module_level=True)

torch = pytest.importorskip("torch")

from tests.support.curvature_problems import NETWORKS  # noqa: E402
from tests.support.curvature_problems import problem  # noqa: E402


@pytest.mark.parametrize("kind", NETWORKS)
def test_all_eigenvalues(kind):
    model, twin, x, y = problem(kind)
    weights = [weight.detach().double() for weight in twin.weights]
    shapes = [weight.shape for weight in weights]
    sizes = [weight.numel() for weight in weights]
    images, labels = torch.tensor(x).double(), torch.tensor(y).long()

    def value(flat):
        parts = [part.reshape(shape) for part, shape in zip(flat.split(sizes), shapes)]
        return torch.nn.functional.cross_entropy(twin.answer(images, *parts), labels)

    flat = torch.cat([weight.reshape(-1) for weight in weights])
    expected = torch.func.hessian(value)(flat).numpy()
    hessian = Hessian(model, MeanLogitCrossentropy())
    product = hessian.at(x, y)
    unit = np.eye(hessian.dimension, dtype="float32")
    rows = [product(ops.convert_to_tensor(row)) for row in unit]
    found = np.stack([ops.convert_to_numpy(row) for row in rows])
    values = np.linalg.eigvalsh(expected)
    rounding = 2e-6 * np.abs(values).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=rounding)
    values_found = np.linalg.eigvalsh(found.astype("float64"))
    np.testing.assert_allclose(values_found, values, rtol=1e-4, atol=rounding)
