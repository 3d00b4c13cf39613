"""ASSG with SA-PGD against what the authors' released code finds on the same network and images.

`released_assg.json` holds the output of `ASSG_SAPGD` of the code of arXiv 2512.22522 (CVPR 2026;
its address and commit are in the file) on the network below, rebuilt with that code's
`MyLIFNode(threshold=1, tau=0.5)`: the images that it returns, as moves in units of epsilon.
`benchmarks/released_assg.py` has its success on 256 images of CIFAR-10.
"""

import json
import pathlib

import keras
import numpy as np
import pytest

from keras_dep import attacks
from keras_dep.interop import from_torch
from keras_dep.models import inference

if keras.backend.backend() != "torch":
    pytest.skip("the network is a module of torch", allow_module_level=True)

torch = pytest.importorskip("torch")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

RELEASED = json.loads(pathlib.Path(__file__).with_name("released_assg.json").read_text())
T, STEPS, SHAPE = 3, 30, (2, 6, 6)
RADII = (0.008, 0.03)


def network():
    """A network of SpikingJelly with drawn weights."""
    draw = np.random.default_rng(0)

    def neurons():
        return neuron.LIFNode(tau=2.0, v_reset=0.0, detach_reset=True)

    body = torch.nn.Sequential(
        *(layer.Conv2d(2, 6, 3, padding=1, bias=False), neurons(), layer.AvgPool2d(2)),
        *(layer.Conv2d(6, 8, 3, padding=1, bias=False), neurons()),
        *(layer.Flatten(), layer.Linear(72, 3)),
    )
    for parameter, scale in zip(body.parameters(), (1.0, 1.0, 0.5, 0.0), strict=True):
        drawn = scale * draw.normal(size=tuple(parameter.shape))
        parameter.data = torch.tensor(drawn.astype("float32"))
    functional.set_step_mode(body, "m")
    return body


def images():
    return np.random.default_rng(1).random((4, *SHAPE)).astype("float32")


def uniform(shape):
    """The draws in [0, 1) from which both searches start."""
    return np.random.default_rng(2).random(tuple(shape)).astype("float32")


class Started(attacks.SAPGD):
    """SA-PGD from those draws."""

    def offset(self, images, seed, restart=0):
        moves = 2 * uniform(np.shape(images)) - 1
        return self.threat.epsilon * moves / abs(moves).max((1, 2, 3), keepdims=True)


def test_the_released_attack_finds_the_same_images():
    model = from_torch(network(), SHAPE, T, mean=(0.4, 0.5), std=(0.2, 0.25))
    x, y = images(), np.array(RELEASED["labels"])
    np.testing.assert_array_equal(inference.logits(model, x).argmax(1), y)
    stood = 0
    for radius, released in zip(RADII, RELEASED["found"], strict=True):
        found = Started(epsilon=radius, steps=STEPS, estimator="assg")(model, x, y)
        stands = inference.logits(model, found).argmax(1) == y
        np.testing.assert_array_equal(stands, released["stands"])
        # Of images that stand, the released attack returns the image itself.
        moves = ((found - x) / radius).reshape(len(x), -1)[~stands]
        expected = np.array(released["moves"])[~stands]
        np.testing.assert_allclose(moves, expected, atol=2e-3)
        stood += stands.sum()
    assert 0 < stood < len(x) * len(RADII)
