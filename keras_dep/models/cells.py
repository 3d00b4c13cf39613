"""What the layers of every spiking network share: how activations are normalised and fire."""

import keras
import numpy as np
from keras import layers

from keras_dep import encoders
from keras_dep import timewise
from keras_dep.neurons.lif import LIF
from keras_dep.normalization import StepwiseBatchNormalization

ENCODERS = ("direct", "rate")
NORMALIZATIONS = ("stepwise", "merged")


class Cells:
    """Builds the parts of one network in turn, from the image to the logits.

    The image is one step until cells first fire; normalisation before that stands for `timesteps`
    equal ones.

    Args:
        timesteps: number of steps `T`, at least 1.
        neuron: keyword arguments of `keras_dep.LIF` other than `timesteps`.
        encoder: one of `ENCODERS`.
        normalization: one of `NORMALIZATIONS`.
        dropout: rate after the cells that ask for it, one mask for all steps.

    Attributes:
        axis: the axis of the channels.

    Raises:
        ValueError: an argument outside its limits.
    """

    def __init__(self, timesteps, neuron, encoder, normalization, dropout):
        timewise.check_timesteps(timesteps)
        if encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}; received {encoder!r}.")
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {', '.join(NORMALIZATIONS)}; received "
                f"{normalization!r}."
            )
        self.timesteps = timesteps
        self.neuron = dict(neuron or {})
        self.encoder = encoder
        self.normalization = normalization
        self.dropout = dropout
        self.axis = 1 if keras.config.image_data_format() == "channels_first" else -1
        self._steps = 1

    def image(self, input_shape, mean, std):
        """`(inputs, x)`: pixels in [0, 1], and what the first convolution sees."""
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ValueError(
                f"input_shape must be three positive sizes; received {input_shape}; an example is "
                "(32, 32, 3)."
            )
        inputs = keras.Input(input_shape, name="image")
        if self.encoder == "direct":
            return inputs, self._pixel_normalization(mean, std)(inputs)
        self._steps = self.timesteps
        return inputs, encoders.RateEncoding(self.timesteps)(inputs)

    def convolve(self, x, filters, size=3, strides=1, use_bias=True):
        return layers.Conv2D(
            filters,
            size,
            strides,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
        )(x)

    def fire(self, x, dropout=True):
        """Normalisation, repetition where it has not happened yet, LIF, dropout."""
        x = self._normalise(x)
        if self._steps < self.timesteps:
            x, self._steps = encoders.DirectEncoding(self.timesteps)(x), self.timesteps
        x = LIF(self.timesteps, **self.neuron)(x)
        return self.drop(x) if dropout else x

    def drop(self, x):
        return timewise.TimeSharedDropout(self.dropout, self.timesteps)(x) if self.dropout else x

    def logits(self, x, num_classes):
        """`(T * batch, features)` to `(batch, T, num_classes)`, in float32."""
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2; received {num_classes}.")
        start = keras.initializers.RandomNormal(stddev=0.01)
        x = layers.Dense(num_classes, kernel_initializer=start, dtype="float32")(x)
        return timewise.Steps(self.timesteps, dtype="float32", name="logits")(x)

    def _normalise(self, x):
        if self.normalization == "stepwise" and self._steps == self.timesteps:
            return StepwiseBatchNormalization(
                self.timesteps, axis=self.axis, momentum=0.9, epsilon=1e-5
            )(x)
        momentum = 0.9 if self.normalization == "merged" else 0.9**self.timesteps
        return layers.BatchNormalization(axis=self.axis, momentum=momentum, epsilon=1e-5)(x)

    def _pixel_normalization(self, mean, std):
        if np.min(std) <= 0:
            raise ValueError(
                f"std must be positive; received {std}; 1.0 leaves pixels as they are."
            )
        variance = np.square(np.asarray(std, "float32"))
        axis = None if np.ndim(mean) == 0 and np.ndim(std) == 0 else self.axis
        return layers.Normalization(axis=axis, mean=np.asarray(mean, "float32"), variance=variance)
