"""A smooth and a spiking network that the peers attack too, and how they are handed to them."""

import keras
import numpy as np
from keras import layers

from keras_dep.attacks.square import draw_square
from keras_dep.attacks.square import draw_stripes
from keras_dep.attacks.square_l2 import bump
from keras_dep.interop import channels_first
from keras_dep.layers.encoders import DirectEncoding
from keras_dep.layers.lif import LIF
from keras_dep.layers.time_axis import UnfoldTime

CLASSES, SIDE, TIMESTEPS = 5, 8, 4


def problem(kind):
    """`(model, images, labels)`; the model tells most of the images' labels right."""
    model = build(kind)
    images = np.random.default_rng(1).uniform(0, 1, (8, SIDE, SIDE, 3)).astype("float32")
    labels = scores(model, images).argmax(axis=1).astype("int32")
    return model, images, labels


def build(kind, *normalization):
    """A `"spiking"` or `"smooth"` network, its convolution followed by layers that normalise."""
    keras.utils.set_random_seed(0)
    spiking = kind == "spiking"
    body = [
        keras.Input((SIDE, SIDE, 3)),
        layers.Rescaling(4.0, offset=-2.0),
        layers.Conv2D(8, 3, kernel_initializer="he_normal"),
        *normalization,
        *([DirectEncoding(TIMESTEPS), LIF(TIMESTEPS)] if spiking else [layers.Activation("tanh")]),
        layers.Flatten(),
        layers.Dense(CLASSES),
        *([UnfoldTime(TIMESTEPS)] if spiking else []),
    ]
    return keras.Sequential(body)


def scores(model, images):
    found = model.predict_on_batch(images)
    return found.mean(axis=1) if found.ndim == 3 else found


def adapted(model):
    """As the peers take it: a `torch.nn.Module` from `(B, C, H, W)` to logits `(B, classes)`."""
    return channels_first(model).eval()


def forth(images):
    import torch

    return torch.tensor(np.moveaxis(images, -1, 1).copy())


def back(images):
    return np.moveaxis(images.detach().numpy(), 1, -1)


def assert_equal(ours, peer, images, atol=2e-6):
    assert np.mean(np.abs(peer - images) > 1e-3) > 0.5
    np.testing.assert_allclose(ours, peer, rtol=0, atol=atol)


class SquareDraws:
    """Our stripes and squares for a peer that asks for row, column and signs in turn."""

    def __init__(self, draw, shape):
        self.draw, self.shape, self.column = draw, shape, None

    def signs(self, shape):
        import torch

        if len(shape) == 4:
            return torch.tensor(draw_stripes(self.draw, self.shape).transpose(2, 0, 1)[None])
        return torch.tensor(self.square).reshape(shape)

    def hand_to(self, peer, monkeypatch):
        monkeypatch.setattr(peer, "random_choice", self.signs)
        monkeypatch.setattr(peer, "random_int", self.place)

    def place(self, low, high, shape=None):
        import torch

        if self.column is None:
            square = draw_square(self.draw, self.shape, SIDE - high)
            row, self.column = np.argwhere(square[:, :, 0])[0]
            self.square = square[row, self.column]
            return torch.tensor([row])
        column, self.column = self.column, None
        return torch.tensor([column])


class BumpDraws:
    """The same for the L2 ball, where it asks for two places, a bump and its signs.

    At the start it asks for bumps past the last row and column too, which change nothing.
    """

    def __init__(self, draw):
        self.draw, self.asked, self.outside = draw, 0, False

    def bump(self, side):
        import torch

        row, column = divmod(self.asked, SIDE)
        self.asked += 1
        self.outside = self.asked <= SIDE**2 and SIDE - 1 in (row, column)
        turned = not self.outside and self.draw.random() >= 0.5
        return torch.tensor(bump(side).T.copy() if turned else bump(side))

    def signs(self, shape):
        import torch

        if self.outside:
            return torch.ones(shape)
        return torch.tensor(self.draw.choice(np.array([-1, 1], "float32"), shape[1])).view(shape)

    def place(self, low, high, shape=None):
        import torch

        return torch.tensor([self.draw.integers(0, high + 1)])

    def hand_to(self, peer, monkeypatch):
        monkeypatch.setattr(peer, "eta", self.bump)
        monkeypatch.setattr(peer, "random_choice", self.signs)
        monkeypatch.setattr(peer, "random_int", self.place)
