"""The callback that schedules the weight of the penalty that neurons add to the loss."""

from collections.abc import Callable

import keras

from keras_dep.layers.overrides import spiking_layers


class PenaltySchedule(keras.callbacks.Callback):
    """Sets `strength` of a network's spiking layers at the start of each epoch.

    A resumed run continues the schedule, as it depends on the epoch alone.

    Args:
        network: the network.
        strength: function of the epoch, counted from 0.
        mean: divide by the number of layers, so that the sum of the penalties is their mean.

    Example:

    >>> from keras_dep.layers import GuardedLIF
    >>> network = keras.Sequential([keras.Input((3,)), GuardedLIF(1)])
    >>> PenaltySchedule(network, lambda epoch: 0.5 * epoch).on_epoch_begin(1)
    >>> float(network.layers[0].strength)
    0.5
    """

    def __init__(self, network: keras.Model, strength: Callable[[int], float], mean: bool = False):
        super().__init__()
        self.network = network
        self.strength = strength
        self.mean = mean

    def on_epoch_begin(self, epoch, logs=None):
        layers = [each for each in spiking_layers(self.network) if hasattr(each, "strength")]
        for layer in layers:
            layer.strength.assign(self.strength(epoch) / (len(layers) if self.mean else 1))
