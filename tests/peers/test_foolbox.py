"""Our FGSM, BIM and PGD in both balls against Foolbox, on the same model."""

import keras
import pytest

from keras_dep.attacks import BIM
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from tests.support.attacked import adapted
from tests.support.attacked import assert_equal
from tests.support.attacked import back
from tests.support.attacked import forth
from tests.support.attacked import problem

if keras.backend.backend() != "torch":
    pytest.skip("the peer is used through torch", allow_module_level=True)

torch = pytest.importorskip("torch")
foolbox = pytest.importorskip("foolbox")

SEARCH = {"abs_stepsize": 0.02, "steps": 5, "random_start": False}
OURS = {"step_size": 0.02, "steps": 5}


@pytest.mark.parametrize("network", ["smooth", "spiking"])
@pytest.mark.parametrize(
    "build, peer, radius",
    [
        (FGSM, lambda: foolbox.attacks.LinfFastGradientAttack(), 8 / 255),
        (
            lambda **o: BIM(**OURS, **o),
            lambda: foolbox.attacks.LinfBasicIterativeAttack(**SEARCH),
            8 / 255,
        ),
        (
            lambda **o: PGD(**OURS, random_start=False, **o),
            lambda: foolbox.attacks.LinfProjectedGradientDescentAttack(**SEARCH),
            8 / 255,
        ),
        (
            lambda **o: FGSM(norm="L2", **o),
            lambda: foolbox.attacks.L2FastGradientAttack(),
            0.3,
        ),
        (
            lambda **o: PGD(**OURS, norm="L2", random_start=False, **o),
            lambda: foolbox.attacks.L2ProjectedGradientDescentAttack(**SEARCH),
            0.07,
        ),
    ],
    ids=["fgsm", "bim", "pgd", "fgsm l2", "pgd l2"],
)
def test_images_equal(network, build, peer, radius):
    model, images, labels = problem(network)
    wrapped = foolbox.PyTorchModel(adapted(model), bounds=(0, 1), device="cpu")
    _, clipped, _ = peer()(wrapped, forth(images), torch.tensor(labels).long(), epsilons=radius)
    assert_equal(build(epsilon=radius)(model, images, labels), back(clipped), images)
