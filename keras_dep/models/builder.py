"""What the layers of every spiking network share: how activations are normalised and fire."""

import collections
import functools

import keras
import numpy as np
from keras import layers

from keras_dep._internal import validation
from keras_dep.layers import encoders
from keras_dep.layers import time_axis
from keras_dep.layers.batch_normalization import MergedBatchNormalization
from keras_dep.layers.batch_normalization import StepwiseBatchNormalization
from keras_dep.layers.batch_normalization import ThresholdDependentBatchNormalization
from keras_dep.layers.convolution import Conv2D
from keras_dep.layers.lif import LIF

ENCODERS = ("direct", "rate", "latency", "events")
NORMALIZATIONS = ("stepwise", "merged", "tdbn")


class NetworkBuilder:
    """Builds the parts of one network in turn, from the image to the logits.

    Layers are named by kind and number (`conv1`, `norm1`, `lif1`), the same in every network of an
    architecture, so that curves of its weights share a chart in TensorBoard.

    The image is one step until cells first fire; normalisation before that stands for `timesteps`
    equal ones.

    Args:
        timesteps: number of steps `T`, at least 1.
        neuron: keyword arguments of `keras_dep.LIF` other than `timesteps`, or a callable
            `(timesteps=..., name=...) -> layer` of currents `(T * batch, ...)`, such as a class of
            neurons or a `functools.partial` of one.
        encoder: `"direct"` repeats the image behind the first normalisation; `"rate"` and
            `"latency"` draw its pixels as spikes (`RateEncoding`, `LatencyEncoding`), which are not
            normalised; `"events"` takes `timesteps` frames in place of an image. Or a callable
            `(timesteps=..., name=...) -> layer` from pixels in [0, 1] to frames `(T * batch, ...)`;
            pixels are normalised in the frames.
        after_spikes: `None`, or a callable `(timesteps=..., name=...) -> layer` that acts on the
            spikes of every spiking layer.
        normalization: batch statistics per time step (`"stepwise"`), over time and batch together
            (`"merged"`), or those scaled to the threshold (`"tdbn"`). Published models differ by
            it; networks without batch normalisation ignore it.
        dropout: rate after the cells that ask for it, one mask for all steps.
        spiking: `False` for the network's twin without spikes: ReLU in place of LIF, the same
            weights in the same order. An image is then one step, whatever `timesteps`, and the
            logits are `(batch, 1, num_classes)`.
        mean: mean of the pixels, a number or one per channel.
        std: standard deviation of the pixels, likewise, positive.

    Attributes:
        axis: the axis of the channels.

    Raises:
        ValueError: an argument outside its limits.
    """

    def __init__(
        self,
        timesteps=4,
        neuron=None,
        encoder="direct",
        normalization="stepwise",
        dropout=0.0,
        spiking=True,
        mean=0.0,
        std=1.0,
        after_spikes=None,
    ):
        time_axis.check_timesteps(timesteps)
        if not callable(encoder):
            validation.one_of("encoder", encoder, ENCODERS)
        validation.one_of("normalization", normalization, NORMALIZATIONS)
        if np.min(std) <= 0:
            raise ValueError(
                f"std must be positive; received {std}; 1.0 leaves pixels as they are."
            )
        self.timesteps = timesteps if spiking or encoder != "direct" else 1
        if not callable(neuron):
            neuron = functools.partial(LIF, **(neuron or {}))
        self.neuron = neuron
        self.after_spikes = after_spikes
        self.encoder = encoder
        self.normalization = normalization
        self.dropout = dropout
        self.spiking = spiking
        self.mean, self.std = mean, std
        self.axis = 1 if keras.config.image_data_format() == "channels_first" else -1
        self._steps = 1 if encoder == "direct" else self.timesteps
        self._counts = collections.Counter()

    def name(self, kind):
        """The name of the next layer of a kind: `"conv1"`, then `"conv2"`."""
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"

    def image(self, input_shape):
        """`(inputs, x)`: pixels in [0, 1] or frames, and what the first convolution sees."""
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ValueError(
                f"input_shape must be three positive sizes; received {input_shape}; an example is "
                "(32, 32, 3)."
            )
        if self.encoder == "events":
            inputs = keras.Input((self.timesteps, *input_shape), name="events")
            return inputs, self._pixel_normalization()(
                time_axis.FoldTime(self.timesteps, name="fold")(inputs)
            )
        inputs = keras.Input(input_shape, name="image")
        if self.encoder == "rate":
            return inputs, encoders.RateEncoding(self.timesteps, name="encoder")(inputs)
        if self.encoder == "latency":
            return inputs, encoders.LatencyEncoding(self.timesteps, name="encoder")(inputs)
        if callable(self.encoder):
            frames = self.encoder(timesteps=self.timesteps, name="encoder")(inputs)
            return inputs, self._pixel_normalization()(frames)
        return inputs, self._pixel_normalization()(inputs)

    def convolve(self, x, filters, size=3, strides=1, use_bias=True, kind=Conv2D):
        """Convolution padded by `size // 2` on every side, as in torch whatever the strides."""
        padding = "same"
        if strides > 1 and size > 1:
            x, padding = self.pad(x, size // 2), "valid"
        start = keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        )
        options = {"use_bias": use_bias, "kernel_initializer": start, "name": self.name("conv")}
        return kind(filters, size, strides, padding, **options)(x)

    def pad(self, x, size):
        """Zeros on every side of a map."""
        return layers.ZeroPadding2D(size, name=self.name("pad"))(x)

    def pool_all(self, x):
        """The mean over each map."""
        return layers.GlobalAveragePooling2D(name=self.name("pool"))(x)

    def fire(self, x, dropout=True):
        """Normalisation, spikes, dropout."""
        x = self.spike(self.normalise(x))
        return self.drop(x) if dropout else x

    def spike(self, x):
        """LIF, behind the repetition where that has not happened yet; or ReLU."""
        if not self.spiking:
            return layers.ReLU(name=self.name("relu"))(x)
        x = self.repeat(x)
        x = self.neuron(timesteps=self.timesteps, name=self.name("lif"))(x)
        if self.after_spikes is None:
            return x
        return self.after_spikes(timesteps=self.timesteps, name=self.name("after_spikes"))(x)

    def repeat(self, x):
        """What has been one step so far, at every step."""
        if self._steps < self.timesteps:
            x = encoders.DirectEncoding(self.timesteps, name="encoder")(x)
            self._steps = self.timesteps
        return x

    def drop(self, x):
        if not self.dropout:
            return x
        name = self.name("dropout")
        return time_axis.TimeSharedDropout(self.dropout, self.timesteps, name=name)(x)

    def logits(self, x, num_classes, initializer=None):
        """`(T * batch, features)` to `(batch, T, num_classes)`, in float32."""
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2; received {num_classes}.")
        start = initializer or keras.initializers.RandomNormal(stddev=0.01)
        x = self.dense(x, num_classes, kernel_initializer=start, dtype="float32")
        return time_axis.UnfoldTime(self.timesteps, dtype="float32", name="logits")(x)

    def dense(self, x, units, **options):
        return layers.Dense(units, **options, name=self.name("dense"))(x)

    def flatten(self, x):
        return layers.Flatten(name=self.name("flatten"))(x)

    def normalise(self, x):
        """Batch normalisation of the kind chosen."""
        options = {"axis": self.axis, "momentum": 0.9, "epsilon": 1e-5, "name": self.name("norm")}
        if self.normalization == "tdbn":
            threshold = getattr(self.neuron(timesteps=self.timesteps), "threshold", 1.0)
            return ThresholdDependentBatchNormalization(threshold, **options)(x)
        if self.normalization == "stepwise":
            if self._steps == self.timesteps:
                return StepwiseBatchNormalization(self.timesteps, **options)(x)
            options["momentum"] **= self.timesteps
        return MergedBatchNormalization(**options)(x)

    def _pixel_normalization(self):
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        axis = self.axis if mean.ndim or std.ndim else None
        return layers.Normalization(axis, mean, np.square(std), name="pixels")
