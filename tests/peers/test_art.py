"""Our FGSM and PGD against the Adversarial Robustness Toolbox, on the same model."""

import tempfile

import keras
import numpy as np
import pytest

from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from tests.support.attacked import CLASSES
from tests.support.attacked import SIDE
from tests.support.attacked import adapted
from tests.support.attacked import assert_equal
from tests.support.attacked import problem

if keras.backend.backend() != "torch":
    pytest.skip("the peer is used through torch", allow_module_level=True)

torch = pytest.importorskip("torch")
# It writes a file into the home folder when imported first; workers that share one would collide.
with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
    patch.setenv("HOME", home)
    pytest.importorskip("art")


@pytest.mark.parametrize("network", ["smooth", "spiking"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd l2"])
def test_images_equal(network, attack):
    from art.attacks.evasion import FastGradientMethod
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    model, images, labels = problem(network)
    # Away from black and white, which the peer cuts off ahead of the projection.
    images = 0.2 + 0.6 * images
    wrapped = PyTorchClassifier(
        adapted(model),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=(3, SIDE, SIDE),
        nb_classes=CLASSES,
        clip_values=(0, 1),
        device_type="cpu",
    )
    search = {"eps_step": 0.02, "max_iter": 4, "verbose": False}
    if attack == "fgsm":
        ours, peer = FGSM(epsilon=8 / 255), FastGradientMethod(wrapped, eps=8 / 255)
    elif attack == "pgd":
        ours = PGD(epsilon=8 / 255, step_size=0.02, steps=4, random_start=False)
        peer = ProjectedGradientDescent(wrapped, eps=8 / 255, **search)
    else:
        ours = PGD(epsilon=0.06, step_size=0.02, steps=4, random_start=False, norm="L2")
        peer = ProjectedGradientDescent(wrapped, norm=2, eps=0.06, **search)
    found = peer.generate(np.moveaxis(images, -1, 1).copy(), labels)
    assert_equal(ours(model, images, labels), np.moveaxis(found, 1, -1), images)
