"""The layers that spiking networks share: encoders, convolutions, normalisation, neurons."""

import collections
import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_dep._internal import validation
from keras_dep._internal.types import Tensor
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

    For networks of your own with the options of `keras_dep.models.build`. A builder counts the
    layers that it has built: make a new one for each network.

    Under direct encoding the layers before the first neurons see each image once. Normalisation
    there updates its statistics as for `timesteps` equal steps.

    Args:
        timesteps: this and the others as in `keras_dep.models.build`.
        neuron: arguments of `keras_dep.LIF`, or a callable that makes neurons.
        after_spikes: a callable that makes a layer on spikes.
        encoder: a name, or a callable that makes an encoder.
        normalization: `"stepwise"`, `"merged"` or `"tdbn"`.
        dropout: rate of `drop`.
        spiking: `False` for the ANN counterpart.
        mean: mean of the pixels.
        std: standard deviation of the pixels.

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
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
    ) -> None:
        time_axis.check_timesteps(timesteps)
        if not _makes_layers(encoder):
            mend = "or give a callable (timesteps=..., name=...) -> layer"
            validation.one_of("encoder", encoder, ENCODERS, mend)
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
        self._counts: collections.Counter[str] = collections.Counter()
        if normalization == "tdbn":
            layer = self._make("neuron", self.neuron, "threshold")
            self._threshold = getattr(layer, "threshold", 1.0)

    def name(self, kind: str) -> str:
        """The name of the next layer of a kind: `"conv1"`, then `"conv2"`."""
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"

    def image(self, input_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The network's input, and the normalised image or frames for the first convolution."""
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ValueError(
                f"input_shape must be three positive sizes; received {input_shape}; an example is "
                "(32, 32, 3)."
            )
        if self.encoder == "events":
            inputs = keras.Input((self.timesteps, *input_shape), name="events")
            frames = time_axis.FoldTime(self.timesteps, name="fold")(inputs)
            return inputs, self._pixel_normalization()(frames)
        inputs = keras.Input(input_shape, name="image")
        if self.encoder == "direct":
            return inputs, self._pixel_normalization()(inputs)
        factory = self.encoder
        if isinstance(factory, str):
            factory = _SPIKE_ENCODERS[factory]
        encoder = self._make("encoder", factory, "encoder")
        frames = encoder(inputs)
        spikes = getattr(encoder, "emits_spikes", False)
        return inputs, frames if spikes else self._pixel_normalization()(frames)

    def convolve(
        self,
        x: Tensor,
        filters: int,
        size: int = 3,
        strides: int = 1,
        use_bias: bool = True,
        kind: type[Conv2D] = Conv2D,
    ) -> Tensor:
        """Convolution padded by `size // 2` on every side, as in torch for any strides."""
        padding = "same"
        if strides > 1 and size > 1:
            x, padding = self.pad(x, size // 2), "valid"
        return kind(
            filters,
            size,
            strides,
            padding,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            name=self.name("conv"),
        )(x)

    def pad(self, x: Tensor, size: int) -> Tensor:
        """Zeros on every side of a map."""
        return layers.ZeroPadding2D(size, name=self.name("pad"))(x)

    def pool_all(self, x: Tensor) -> Tensor:
        """The mean over each map."""
        return layers.GlobalAveragePooling2D(name=self.name("pool"))(x)

    def fire(self, x: Tensor, dropout: bool = True) -> Tensor:
        """Normalisation, spikes, dropout."""
        x = self.spike(self.normalise(x))
        return self.drop(x) if dropout else x

    def spike(self, x: Tensor) -> Tensor:
        """Neurons and `after_spikes` at every step; ReLU in the ANN counterpart."""
        if not self.spiking:
            return layers.ReLU(name=self.name("relu"))(x)
        x = self._make("neuron", self.neuron, self.name("lif"))(self.repeat(x))
        if self.after_spikes is None:
            return x
        return self._make("after_spikes", self.after_spikes, self.name("after_spikes"))(x)

    def repeat(self, x: Tensor) -> Tensor:
        """Direct encoding of maps that have one step so far; others stay as they are."""
        if self._steps < self.timesteps:
            x = encoders.DirectEncoding(self.timesteps, name="encoder")(x)
            self._steps = self.timesteps
        return x

    def drop(self, x: Tensor) -> Tensor:
        """Dropout with one mask for all steps, unless the rate is 0."""
        if not self.dropout:
            return x
        name = self.name("dropout")
        return time_axis.TimeSharedDropout(self.dropout, self.timesteps, name=name)(x)

    def logits(
        self, x: Tensor, num_classes: int, initializer: str | keras.Initializer | None = None
    ) -> Tensor:
        """`(T * batch, features)` to `(batch, T, num_classes)`, in float32."""
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2; received {num_classes}.")
        start = initializer or keras.initializers.RandomNormal(stddev=0.01)
        x = self.dense(x, num_classes, initializer=start, dtype="float32")
        return time_axis.UnfoldTime(self.timesteps, dtype="float32", name="logits")(x)

    def dense(
        self,
        x: Tensor,
        units: int,
        initializer: str | keras.Initializer = "glorot_uniform",
        dtype: str | None = None,
    ) -> Tensor:
        """A dense layer."""
        name = self.name("dense")
        return layers.Dense(units, kernel_initializer=initializer, dtype=dtype, name=name)(x)

    def flatten(self, x: Tensor) -> Tensor:
        """Maps as vectors."""
        return layers.Flatten(name=self.name("flatten"))(x)

    def normalise(self, x: Tensor) -> Tensor:
        """Batch normalisation of the chosen kind."""
        momentum, epsilon, name = 0.9, 1e-5, self.name("norm")
        layer: keras.layers.BatchNormalization
        if self.normalization == "tdbn":
            layer = ThresholdDependentBatchNormalization(
                self._threshold, axis=self.axis, momentum=momentum, epsilon=epsilon, name=name
            )
        elif self.normalization == "stepwise" and self._steps == self.timesteps:
            layer = StepwiseBatchNormalization(
                self.timesteps, axis=self.axis, momentum=momentum, epsilon=epsilon, name=name
            )
        else:
            if self.normalization == "stepwise":
                momentum **= self.timesteps
            layer = MergedBatchNormalization(
                axis=self.axis, momentum=momentum, epsilon=epsilon, name=name
            )
        return layer(x)

    def _pixel_normalization(self) -> keras.layers.Layer:
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        axis = self.axis if mean.ndim or std.ndim else None
        return layers.Normalization(axis, mean, np.square(std), name="pixels")

    def _make(
        self, argument: str, factory: Callable[..., keras.layers.Layer], name: str
    ) -> keras.layers.Layer:
        layer = factory(timesteps=self.timesteps, name=name)
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(
                f"{argument} must make a keras.layers.Layer; received {layer!r} from "
                f"{argument}(timesteps={self.timesteps}, name={name!r})."
            )
        return layer


def _neuron_factory(
    neuron: Mapping[str, Any] | Callable[..., keras.layers.Layer] | None,
) -> Callable[..., keras.layers.Layer]:
    if callable(neuron) and _makes_layers(neuron):
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


def _makes_layers(value: object) -> bool:
    # A layer is callable too, but makes no layer.
    return callable(value) and not isinstance(value, keras.layers.Layer)
