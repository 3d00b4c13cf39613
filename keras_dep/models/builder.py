"""What the layers of every spiking network share: how activations are normalised and fire."""

import collections
import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

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
_SPIKE_ENCODERS = {"rate": encoders.RateEncoding, "latency": encoders.LatencyEncoding}


class NetworkBuilder:
    """Builds the layers of one network in turn, from the image to the logits.

    Layers are named by kind and number (`conv1`, `norm1`, `lif1`), the same in every network of an
    architecture and for every neuron, so that curves of its weights share a chart in TensorBoard.

    Under direct encoding the layers before the first neurons see each image once. Normalisation
    there updates its statistics as for `timesteps` equal steps.

    `neuron`, `after_spikes` and `encoder` accept a callable `(timesteps=..., name=...) -> layer`: a
    layer class, or `functools.partial(MyNeuron, tau=2.0)`. Save networks with such layers as usual;
    register the classes by `keras.saving.register_keras_serializable`, so that they load.

    Args:
        timesteps: number of steps `T`, at least 1.
        neuron: keyword arguments of `keras_dep.LIF` as a dictionary, or a callable that makes the
            layer from currents `(T * batch, ...)`, time-major, to spikes of that shape.
        after_spikes: a callable that makes a layer on the spikes of every spiking layer, from
            `(T * batch, ...)` to the same shape, for example a stochastic gate. Dropout follows it.
        encoder: `"direct"` repeats the image after the first normalisation. `"rate"` and
            `"latency"` turn pixels into spikes (`RateEncoding`, `LatencyEncoding`), which are not
            normalised. `"events"` takes `timesteps` frames in place of an image. A callable makes a
            layer from pixels in [0, 1], `(batch, height, width, channels)`, to frames
            `(T * batch, height, width, channels)`, time-major. The frames are then normalised as
            the image would be, except when the layer has `emits_spikes = True`.
        normalization: batch statistics per time step (`"stepwise"`), over time and batch together
            (`"merged"`), or those scaled to the threshold (`"tdbn"`). Published models differ by
            it; networks without batch normalisation ignore it. `"tdbn"` reads the attribute
            `threshold` of a neuron; without it, 1.
        dropout: rate of the dropout layers, one mask for all steps.
        spiking: `False` for the ANN counterpart: ReLU in place of neurons, the same weights in the
            same order, no `after_spikes`. Under direct encoding it then has one step, whatever
            `timesteps`, and the logits are `(batch, 1, num_classes)`.
        mean: mean of the pixels, a number or one per channel.
        std: standard deviation of the pixels, likewise, positive.

    Attributes:
        axis: the axis of the channels.

    Raises:
        ValueError: an argument outside its limits; later, a callable that makes no layer.

    Example:

    >>> class Leaky(LIF):
    ...     pass
    >>> builder = NetworkBuilder(timesteps=2, neuron=functools.partial(Leaky, tau=2.0))
    >>> inputs, x = builder.image((8, 8, 1))
    >>> x = builder.fire(builder.convolve(x, 4))
    >>> model = keras.Model(inputs, builder.logits(builder.pool_all(x), num_classes=3))
    >>> model.get_layer("lif1").tau, model.output_shape
    (2.0, (None, 2, 3))
    """

    def __init__(
        self,
        timesteps: int = 4,
        neuron: Mapping[str, Any] | Callable[..., keras.layers.Layer] | None = None,
        *,
        after_spikes: Callable[..., keras.layers.Layer] | None = None,
        encoder: str | Callable[..., keras.layers.Layer] = "direct",
        normalization: str = "stepwise",
        dropout: float = 0.0,
        spiking: bool = True,
        mean: Any = 0.0,
        std: Any = 1.0,
    ) -> None:
        time_axis.check_timesteps(timesteps)
        if not _makes_layers(encoder) and encoder not in ENCODERS:
            raise ValueError(
                f"encoder must be one of {', '.join(ENCODERS)}, or a callable (timesteps=..., "
                f"name=...) -> layer; received {encoder!r}."
            )
        if after_spikes is not None and not _makes_layers(after_spikes):
            raise ValueError(
                "after_spikes must be a callable (timesteps=..., name=...) -> layer; received "
                f"{after_spikes!r}; give the class, or functools.partial of it with its arguments."
            )
        validation.one_of("normalization", normalization, NORMALIZATIONS)
        if np.min(std) <= 0:
            raise ValueError(
                f"std must be positive; received {std}; 1.0 leaves pixels as they are."
            )
        self.timesteps = timesteps if spiking or encoder != "direct" else 1
        self.neuron = _neuron_factory(neuron)
        self.after_spikes = after_spikes
        self.encoder = encoder
        self.normalization = normalization
        self.dropout = dropout
        self.spiking = spiking
        self.mean, self.std = mean, std
        self.axis = 1 if keras.config.image_data_format() == "channels_first" else -1
        self._steps = 1 if encoder == "direct" else self.timesteps
        self._counts = collections.Counter()
        if normalization == "tdbn":
            layer = self._make("neuron", self.neuron, "threshold")
            self._threshold = getattr(layer, "threshold", 1.0)

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
        if self.encoder == "direct":
            return inputs, self._pixel_normalization()(inputs)
        named = isinstance(self.encoder, str)
        factory = _SPIKE_ENCODERS[self.encoder] if named else self.encoder
        encoder = self._make("encoder", factory, "encoder")
        frames = encoder(inputs)
        spikes = getattr(encoder, "emits_spikes", False)
        return inputs, frames if spikes else self._pixel_normalization()(frames)

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
        """Spikes of neurons and `after_spikes`, on every step; or ReLU."""
        if not self.spiking:
            return layers.ReLU(name=self.name("relu"))(x)
        x = self._make("neuron", self.neuron, self.name("lif"))(self.repeat(x))
        if self.after_spikes is None:
            return x
        return self._make("after_spikes", self.after_spikes, self.name("after_spikes"))(x)

    def repeat(self, x):
        """What has been one step so far, at every step."""
        if self._steps < self.timesteps:
            x = encoders.DirectEncoding(self.timesteps, name="encoder")(x)
            self._steps = self.timesteps
        return x

    def drop(self, x):
        """Dropout with one mask for all steps, unless the rate is 0."""
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
        """A dense layer; options are those of `keras.layers.Dense`."""
        return layers.Dense(units, **options, name=self.name("dense"))(x)

    def flatten(self, x):
        """Maps as vectors."""
        return layers.Flatten(name=self.name("flatten"))(x)

    def normalise(self, x):
        """Batch normalisation of the kind chosen."""
        options = {"axis": self.axis, "momentum": 0.9, "epsilon": 1e-5, "name": self.name("norm")}
        if self.normalization == "tdbn":
            return ThresholdDependentBatchNormalization(self._threshold, **options)(x)
        if self.normalization == "stepwise":
            if self._steps == self.timesteps:
                return StepwiseBatchNormalization(self.timesteps, **options)(x)
            options["momentum"] **= self.timesteps
        return MergedBatchNormalization(**options)(x)

    def _pixel_normalization(self):
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        axis = self.axis if mean.ndim or std.ndim else None
        return layers.Normalization(axis, mean, np.square(std), name="pixels")

    def _make(self, argument, factory, name):
        layer = factory(timesteps=self.timesteps, name=name)
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(
                f"{argument} must make a keras.layers.Layer; received {layer!r} from "
                f"{argument}(timesteps={self.timesteps}, name={name!r})."
            )
        return layer


def _neuron_factory(neuron):
    if _makes_layers(neuron):
        return neuron
    if neuron is not None and not isinstance(neuron, Mapping):
        raise ValueError(
            "neuron must be a dictionary of arguments of keras_dep.LIF, or a callable "
            f"(timesteps=..., name=...) -> layer; received {neuron!r}."
        )
    constants = dict(neuron or {})
    for name in ("timesteps", "name"):
        if name in constants:
            raise ValueError(
                f"neuron must leave {name} to the network; received {name}={constants[name]!r}; "
                "leave it out."
            )
    return functools.partial(LIF, **constants)


def _makes_layers(value):
    """Whether a value may be a callable that makes layers: a layer is callable, but makes none."""
    return callable(value) and not isinstance(value, keras.layers.Layer)
