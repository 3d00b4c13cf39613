"""A spiking network of two layers in NumPy and float64, and its gradient by published rules."""

import keras
import numpy as np
from keras import layers

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import UnfoldTime

T, FEATURES, HIDDEN, CLASSES = 3, 5, 7, 4


def network(decay=0.6, threshold=0.8, reset="hard", seed=2, timesteps=T, **neuron):
    """Two spiking layers and a readout, whose weights let about half of the neurons fire."""
    keras.utils.set_random_seed(seed)
    wide = keras.initializers.RandomNormal(stddev=1.2)
    neuron = dict(decay=decay, threshold=threshold, reset=reset, **neuron)
    body = [
        keras.Input((FEATURES,)),
        layers.Dense(HIDDEN, kernel_initializer=wide),
        DirectEncoding(timesteps),
        LIF(timesteps, **neuron),
        layers.Dense(HIDDEN, kernel_initializer=wide),
        LIF(timesteps, **neuron),
        layers.Dense(CLASSES, kernel_initializer=wide),
        UnfoldTime(timesteps),
    ]
    return keras.Sequential(body)


def problem(count=12):
    draw = np.random.default_rng(1)
    x = draw.uniform(0, 1, (count, FEATURES)).astype("float32")
    return x, draw.integers(0, CLASSES, count).astype("int32")


class Reference:
    """The network in float64, differentiated by a rule per layer.

    A rule is a function `(currents, potentials, spikes, layer, number of the layer)` to the
    matrix-free backward pass: a function from the gradient in the spikes to that in the currents.
    """

    def __init__(self, model, rule):
        lif = [layer for layer in model.layers if isinstance(layer, LIF)][0]
        self.decay, self.threshold, self.hard = 1 - 1 / lif.tau, lif.threshold, lif.reset == "hard"
        self.timesteps = lif.timesteps
        self.weights = [w.astype("float64") for w in model.get_weights()]
        self.rule = rule

    def fire(self, currents):
        potentials, spikes = [], []
        kept = np.zeros_like(currents[0])
        for current in currents:
            potential = self.decay * kept + current
            fired = (potential >= self.threshold).astype("float64")
            kept = (1 - fired) * potential if self.hard else potential - self.threshold * fired
            potentials.append(potential)
            spikes.append(fired)
        return np.stack(potentials), np.stack(spikes)

    def gradient(self, x, y):
        """`(gradient of the summed cross-entropy of the mean logits, the mean logits)`."""
        w1, b1, w2, b2, w3, b3 = self.weights
        first = np.repeat((x.astype("float64") @ w1 + b1)[None], self.timesteps, axis=0)
        potentials, spikes = self.fire(first)
        back_one = self.rule(first, potentials, spikes, self, 0)
        second = spikes @ w2 + b2
        potentials, spikes = self.fire(second)
        back_two = self.rule(second, potentials, spikes, self, 1)
        logits = (spikes @ w3 + b3).mean(axis=0)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]
        gradient = np.repeat((error @ w3.T)[None] / self.timesteps, self.timesteps, axis=0)
        gradient = back_one(back_two(gradient) @ w2.T).sum(axis=0) @ w1.T
        return gradient, logits


def through_time(slopes, potentials, spikes, reference):
    """Backpropagation through potentials and resets, with `slopes` for the spikes' derivative."""

    def back(gradient):
        result, later = np.zeros_like(gradient), 0.0
        for t in reversed(range(len(gradient))):
            if reference.hard:
                kept, lost = 1 - spikes[t], potentials[t]
            else:
                kept, lost = 1.0, reference.threshold
            here = (gradient[t] - later * lost) * slopes[t] + later * kept
            result[t], later = here, reference.decay * here
        return result

    return back
