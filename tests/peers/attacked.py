"""A smooth and a spiking network that the peers attack too, and how they are handed to them."""

import keras
import numpy as np
from keras import layers

from keras_dep.attacks import channels_first
from keras_dep.attacks.square import draw_square
from keras_dep.attacks.square import draw_stripes
from keras_dep.encoders import DirectEncoding
from keras_dep.neurons.lif import LIF
from keras_dep.timewise import Steps

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
        *([Steps(TIMESTEPS)] if spiking else []),
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

    def place(self, low, high, shape=None):
        import torch

        if self.column is None:
            square = draw_square(self.draw, self.shape, SIDE - high)
            row, self.column = np.argwhere(square[:, :, 0])[0]
            self.square = square[row, self.column]
            return torch.tensor([row])
        column, self.column = self.column, None
        return torch.tensor([column])
