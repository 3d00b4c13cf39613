"""FGSM and PGD against torchattacks': the same model and start give the same images."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dep.attacks import APGD
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks.gradient import image_draws
from keras_dep.attacks.gradient import random_offset
from keras_dep.encoders import DirectEncoding
from keras_dep.neurons.lif import LIF
from keras_dep.timewise import Steps

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
torchattacks = pytest.importorskip("torchattacks")

CLASSES, SIDE, TIMESTEPS = 5, 8, 4
SEARCH = {"epsilon": 8 / 255, "step_size": 0.01, "steps": 7}


@pytest.mark.parametrize("network", ["smooth", "spiking"])
@pytest.mark.parametrize("epsilon", [2 / 255, 8 / 255])
def test_fgsm_equals(network, epsilon):
    model, images, labels = _problem(network)
    ours = FGSM(epsilon=epsilon)(model, images, labels)
    peer = _peer_images(torchattacks.FGSM(_ChannelsFirst(model), eps=epsilon), images, labels)
    _assert_equal(ours, peer, images)


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_pgd_from_the_image_equals(network):
    model, images, labels = _problem(network)
    ours = PGD(**SEARCH, random_start=False)(model, images, labels)
    peer = _peer_images(_peer_pgd(model, random_start=False), images, labels)
    _assert_equal(ours, peer, images)


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_pgd_from_one_random_start_equals(network, monkeypatch):
    model, images, labels = _problem(network)
    attack = PGD(**SEARCH, random_start=True, seed=3)
    ours = attack(model, images, labels)
    # The peer draws its start in place; hand it the draw that ours made.
    draw = torch.tensor(random_offset(attack.threat, images, [3, 0])).permute(0, 3, 1, 2)
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda *_: draw)
    peer = _peer_images(_peer_pgd(model, random_start=True), images, labels)
    _assert_equal(ours, peer, images)
    from_the_image = PGD(**SEARCH, random_start=False)(model, images, labels)
    assert np.abs(ours - from_the_image).max() > 1e-3


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_apgd_equals(network, loss, monkeypatch):
    model, images, labels = _problem(network)
    search = {"epsilon": 4 / 255, "steps": 40, "loss": loss, "seed": 3}
    ours = APGD(**search)(model, images, labels)
    # The peer stretches a draw in [0, 1); hand it ours.
    draw = [each.uniform(-1, 1, images.shape[1:]) for each in image_draws(images, [3, 0])]
    draw = torch.tensor((np.stack(draw).transpose(0, 3, 1, 2) + 1) / 2, dtype=torch.float32)
    monkeypatch.setattr(torch, "rand", lambda *_: draw)
    peer = torchattacks.APGD(
        _ChannelsFirst(model).eval(), eps=4 / 255, steps=40, n_restarts=1, loss=loss, seed=0
    )
    start = torch.tensor(images.transpose(0, 3, 1, 2))
    best, resists, _, fooling = peer.attack_single_run(start, torch.tensor(labels).long())
    expected = torch.where(resists[:, None, None, None], best, fooling)
    # Both kinds of result are compared; nothing resists on the spiking network.
    assert not resists.all() and (resists.any() or network == "spiking")
    _assert_equal(ours, expected.detach().numpy().transpose(0, 2, 3, 1), images)


class _ChannelsFirst(torch.nn.Module):
    """A Keras model as the peer wants it: images `(B, C, H, W)` to logits `(B, classes)`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        logits = self.model(images.permute(0, 2, 3, 1), training=self.training)
        return logits.mean(dim=1) if logits.ndim == 3 else logits


def _peer_pgd(model, random_start):
    return torchattacks.PGD(
        _ChannelsFirst(model),
        eps=SEARCH["epsilon"],
        alpha=SEARCH["step_size"],
        steps=SEARCH["steps"],
        random_start=random_start,
    )


def _peer_images(attack, images, labels):
    channels_first = torch.tensor(images.transpose(0, 3, 1, 2))
    adversarial = attack(channels_first, torch.tensor(labels).long())
    return adversarial.numpy().transpose(0, 2, 3, 1)


def _problem(network):
    keras.utils.set_random_seed(0)
    spiking = network == "spiking"
    body = [
        keras.Input((SIDE, SIDE, 3)),
        layers.Rescaling(4.0, offset=-2.0),
        layers.Conv2D(8, 3, kernel_initializer="he_normal"),
        layers.BatchNormalization(),
        *([DirectEncoding(TIMESTEPS), LIF(TIMESTEPS)] if spiking else [layers.Activation("tanh")]),
        layers.Flatten(),
        layers.Dense(CLASSES),
        *([Steps(TIMESTEPS)] if spiking else []),
    ]
    draw = np.random.default_rng(1)
    images = draw.uniform(0, 1, (8, SIDE, SIDE, 3)).astype("float32")
    return keras.Sequential(body), images, draw.integers(0, CLASSES, 8).astype("int32")


def _assert_equal(ours, peer, images):
    moved = np.abs(peer - images)
    assert np.mean(moved > 1e-3) > 0.5
    np.testing.assert_allclose(ours, peer, rtol=0, atol=1e-6)
