"""Attacks against torchattacks': the same model and draws give the same images."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dep.attacks import APGD
from keras_dep.attacks import BIM
from keras_dep.attacks import FGSM
from keras_dep.attacks import MIFGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import RFGSM
from keras_dep.attacks import Square
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.randomness import random_offset
from keras_dep.interop import channels_first
from tests.support.attacked import CLASSES
from tests.support.attacked import SIDE
from tests.support.attacked import SquareDraws
from tests.support.attacked import build

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
torchattacks = pytest.importorskip("torchattacks")

SEARCH = {"epsilon": 8 / 255, "step_size": 0.01, "steps": 7}


def test_the_adapted_model_is_one_for_the_peer():
    model, images, labels = _problem("spiking")
    peer = torchattacks.BIM(channels_first(model), eps=8 / 255, alpha=2 / 255, steps=3)
    ours = BIM(epsilon=8 / 255, step_size=2 / 255, steps=3)(model, images, labels)
    _assert_equal(ours, _peer_images(peer, images, labels), images)


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


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_pgd_in_the_euclidean_ball_equals(network, monkeypatch):
    model, images, labels = _problem(network)
    attack = PGD(epsilon=0.5, step_size=0.15, steps=5, norm="L2", seed=3)
    # The peer draws a direction and a distance; hand it the ones that ours made.
    draw = torch.tensor(random_offset(attack.threat, images, [3, 0])).permute(0, 3, 1, 2)
    distance = draw.flatten(1).norm(dim=1).view(-1, 1, 1, 1) / 0.5
    monkeypatch.setattr(torch.Tensor, "normal_", lambda *_: draw.clone().contiguous())
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda *_: distance)
    peer = torchattacks.PGDL2(_ChannelsFirst(model), eps=0.5, alpha=0.15, steps=5)
    _assert_equal(attack(model, images, labels), _peer_images(peer, images, labels), images)


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_bim_equals(network):
    model, images, labels = _problem(network)
    ours = BIM(epsilon=8 / 255, step_size=2 / 255, steps=6)(model, images, labels)
    peer = torchattacks.BIM(_ChannelsFirst(model), eps=8 / 255, alpha=2 / 255, steps=6)
    _assert_equal(ours, _peer_images(peer, images, labels), images)


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_mifgsm_equals(network):
    model, images, labels = _problem(network)
    ours = MIFGSM(epsilon=8 / 255, step_size=2 / 255, steps=6, decay=0.9)(model, images, labels)
    peer = torchattacks.MIFGSM(
        _ChannelsFirst(model), eps=8 / 255, alpha=2 / 255, steps=6, decay=0.9
    )
    _assert_equal(ours, _peer_images(peer, images, labels), images)


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_one_step_behind_a_random_one_equals(network, monkeypatch):
    model, images, labels = _problem(network)
    ours = RFGSM(epsilon=8 / 255, step_size=3 / 255, steps=2, seed=3)(model, images, labels)
    draws = [draw.standard_normal(images.shape[1:]) for draw in image_draws(images, 3)]
    draws = torch.tensor(np.stack(draws).transpose(0, 3, 1, 2), dtype=torch.float32)
    monkeypatch.setattr(torch, "randn_like", lambda *_: draws)
    peer = torchattacks.RFGSM(_ChannelsFirst(model), eps=8 / 255, alpha=3 / 255, steps=2)
    _assert_equal(ours, _peer_images(peer, images, labels), images)
    # FFGSM is one long step of PGD.
    attack = PGD(epsilon=8 / 255, step_size=10 / 255, steps=1, seed=3)
    draw = torch.tensor(random_offset(attack.threat, images, [3, 0])).permute(0, 3, 1, 2)
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda *_: draw)
    peer = torchattacks.FFGSM(_ChannelsFirst(model), eps=8 / 255, alpha=10 / 255)
    ours = attack(model, images, labels)
    _assert_equal(ours, _peer_images(peer, images, labels), images)


@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_square_from_the_same_draws_equals(network, monkeypatch):
    """Image by image, since the peer paints one square on all images of a batch.

    In the L2 ball it gives each channel the length of all, other than its authors' own code.
    """
    model, images, _ = _problem(network)
    labels = keras.ops.convert_to_numpy(model(images))
    labels = (labels.mean(axis=1) if labels.ndim == 3 else labels).argmax(axis=1).astype("int32")
    broken, queries = [], 50
    for image, label in zip(images[:6, None], labels[:6, None]):
        ours = Square(epsilon=8 / 255, queries=queries, seed=3)(model, image, label)
        peer = torchattacks.Square(_ChannelsFirst(model), eps=8 / 255, n_queries=queries)
        draws = SquareDraws(image_draws(image, 3)[0], image.shape[1:])
        draws.hand_to(peer, monkeypatch)
        found = _peer_images(peer, image, label)
        broken.append((found != image).any())
        # The peer hands back the clean image where it failed.
        if broken[-1]:
            _assert_equal(ours, found, image)
        else:
            scores = _ChannelsFirst(model)(torch.tensor(ours.transpose(0, 3, 1, 2)))
            assert int(scores.argmax(dim=1)) == label[0]
    assert any(broken)


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
        if images.requires_grad:
            # Some of the peer's attacks view the gradient, which asks for its order in memory.
            images = images.view_as(images)
            images.register_hook(lambda gradient: gradient.contiguous())
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
    channels_first = torch.tensor(images.transpose(0, 3, 1, 2).copy())
    adversarial = attack(channels_first, torch.tensor(labels).long())
    return adversarial.numpy().transpose(0, 2, 3, 1)


def _problem(kind):
    draw = np.random.default_rng(1)
    images = draw.uniform(0, 1, (8, SIDE, SIDE, 3)).astype("float32")
    labels = draw.integers(0, CLASSES, 8).astype("int32")
    return build(kind, layers.BatchNormalization()), images, labels


def _assert_equal(ours, peer, images):
    moved = np.abs(peer - images)
    assert np.mean(moved > 1e-3) > 0.5
    np.testing.assert_allclose(ours, peer, rtol=0, atol=1e-6)
