"""Stochastic gates (StoG)."""

import functools
import math

import keras

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.layers import StochasticGate


@register
def stog(
    gamma: float = 5e-6, norm: str = "l2", gradient: str = "relaxed", bypass: bool = False
) -> Defence:
    """Passes spikes through random gates with learnt probabilities.

    See `keras_dep.layers.StochasticGate`. Openings are learnt in the first half of the epochs, as
    published (100 of 200), without weight decay, and then kept. The released code updates them in a
    second step, with the gradient of the loss plus that of the prior; here one step does both.

    Args:
        gamma: weight of the prior, not negative.
        norm: `"l2"` or `"l1"`.
        gradient: `"relaxed"`, or `"released"` for the sign and scale of the released code.
        bypass: leave the gates out, which is plain training.

    Raises:
        ValueError: an option outside its limits.

    Source: Ding et al., AAAI 2024, and its released code.

    Example:

    >>> stog(bypass=True).after_spikes is None
    True
    """
    StochasticGate(1, gamma, norm, gradient)
    if bypass:
        return Defence()
    return Defence(
        after_spikes=functools.partial(StochasticGate, gamma=gamma, norm=norm, gradient=gradient),
        optimizer=_sparing_openings,
        callbacks=lambda network, plan: [_Freeze(network, math.ceil(plan.epochs / 2))],
    )


def _sparing_openings(optimizer, plan):
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["opening"])
    return optimizer


class _Freeze(keras.callbacks.Callback):
    """Freezes the openings after some epochs. The state is a variable of each gate."""

    def __init__(self, network: keras.Model, epochs: int):
        super().__init__()
        self.network = network
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.epochs:
            for layer in self.network.layers:
                if isinstance(layer, StochasticGate):
                    layer.freeze()
