"""Our APGD, APGD-T and Square against the package of AutoAttack's authors, from the same starts."""

import keras
import numpy as np
import pytest

from keras_dep.attacks import APGD
from keras_dep.attacks import APGDT
from keras_dep.attacks import Square
from keras_dep.attacks.randomness import image_draws
from tests.support.attacked import BumpDraws
from tests.support.attacked import SquareDraws
from tests.support.attacked import adapted
from tests.support.attacked import assert_equal
from tests.support.attacked import back
from tests.support.attacked import forth
from tests.support.attacked import problem
from tests.support.attacked import scores

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
pytest.importorskip("pyautoattack")
from pyautoattack import AutoAttack  # noqa: E402
from pyautoattack.autopgd_base import APGDAttack  # noqa: E402
from pyautoattack.autopgd_base import APGDAttack_targeted  # noqa: E402
from pyautoattack.square import SquareAttack  # noqa: E402

RADII = {"Linf": 4 / 255, "L2": 0.25}
# Lengths are sums rounded in another order, which a search carries on.
ROUNDING = {"Linf": 2e-6, "L2": 5e-4}


def started_as(peer, attack, seed, monkeypatch):
    """Hands the peer our start, of the run's number where it searches more than once, and its loss.

    The peer counts the first step as a rise where the loss is above 0 in place of that at the
    start, for which it reads the end of its record. That is 0 until the last step.
    """
    original, oscillates = peer.attack_single_run, peer.check_oscillation
    losses = {"ce": torch.nn.CrossEntropyLoss(reduction="none"), "dlr": peer.dlr_loss}
    runs = iter(range(100))

    def run(x, y):
        draws = [*seed, next(runs)] if isinstance(attack, APGDT) else seed
        start = attack._start(keras.ops.convert_to_tensor(back(x)), draws, restart=0)
        start = forth(keras.ops.convert_to_numpy(start))
        loss = losses.get(peer.loss) or peer.dlr_loss_targeted
        first = loss(peer.model(start), y).detach()

        def corrected(record, step, length, *rest, **options):
            if step + 1 == length < len(record):
                record = torch.cat([record[:-1], first[None]])
            return oscillates(record, step, length, *rest, **options)

        monkeypatch.setattr(peer, "check_oscillation", corrected)
        return original(x, y, x_init=start)

    monkeypatch.setattr(peer, "attack_single_run", run)


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_apgd_equals(network, loss, norm, monkeypatch):
    model, images, labels = problem(network)
    attack = APGD(epsilon=RADII[norm], steps=15, loss=loss, norm=norm, seed=3)
    peer = APGDAttack(adapted(model), n_iter=15, norm=norm, eps=RADII[norm], loss=loss)
    started_as(peer, attack, [3], monkeypatch)
    peer.init_hyperparam(forth(images))
    best, resists, _, fooling = peer.attack_single_run(forth(images), torch.tensor(labels).long())
    expected = torch.where(resists.bool()[:, None, None, None], best, fooling)
    assert not resists.all()
    assert_equal(attack(model, images, labels), back(expected), images, ROUNDING[norm])


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_apgd_towards_each_class_equals(network, norm, monkeypatch):
    model, images, labels = problem(network)
    radius = RADII[norm] * (0.4 if network == "spiking" else 1)
    attack = APGDT(epsilon=radius, steps=12, norm=norm, classes=3, seed=3)
    peer = APGDAttack_targeted(adapted(model), n_iter=12, norm=norm, eps=radius, n_target_classes=3)
    started_as(peer, attack, [3], monkeypatch)
    found = back(peer.perturb(forth(images), torch.tensor(labels).long()))
    broken = (found != images).any(axis=(1, 2, 3))
    assert broken.any()
    ours = attack(model, images, labels)
    np.testing.assert_array_equal(scores(model, ours).argmax(axis=1) != labels, broken)
    # The peer hands back the clean image where it failed.
    assert_equal(ours[broken], found[broken], images[broken], ROUNDING[norm])


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_square_equals(network, norm, monkeypatch):
    """Image by image, since the peer paints one square on all images of a batch."""
    model, images, labels = problem(network)
    radius = {"Linf": 8 / 255, "L2": 0.5}[norm]
    attack, broken = Square(epsilon=radius, queries=60, seed=3, norm=norm), 0
    for image, label in zip(images[:5, None], labels[:5, None]):
        peer = SquareAttack(adapted(model), eps=radius, n_queries=60, norm=norm)
        draw = image_draws(image, 3)[0]
        draws = SquareDraws(draw, image.shape[1:]) if norm == "Linf" else BumpDraws(draw)
        draws.hand_to(peer, monkeypatch)
        found = back(peer.perturb(forth(image), torch.tensor(label).long()))
        ours = attack(model, image, label)
        fooled = bool((scores(model, ours).argmax(axis=1) != label).all())
        assert fooled == bool((found != image).any())
        if fooled:
            np.testing.assert_allclose(ours, found, rtol=0, atol=ROUNDING[norm])
            assert np.abs(found - image).max() > 0.02
            broken += 1
    assert broken


def test_the_whole_package_attacks_the_adapted_model():
    model, images, labels = problem("spiking")
    whole = AutoAttack(
        adapted(model), attacks=["apgd-ce", "square"], version="custom", eps=4 / 255, seed=0
    )
    whole.verbose = False
    whole.apgd.n_restarts = 1
    whole.square.n_queries = 20
    found, _ = whole.run_standard_evaluation(forth(images), torch.tensor(labels).long())
    found = back(found)
    assert np.abs(found - images).max() <= 4 / 255 + 1e-6
    assert (scores(model, found).argmax(axis=1) != labels).any()
