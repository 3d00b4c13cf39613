"""Spiking VGG networks, as in the released code of the paper."""

import keras
import numpy as np
from keras import layers

from keras_dep import encoders
from keras_dep import timewise
from keras_dep.neurons.lif import LIF
from keras_dep.normalization import StepwiseBatchNormalization

# Numbers are output channels of 3x3 convolutions; "M" halves the map by average pooling.
STAGES = {
    "vgg5": (64, "M", 128, 128, "M"),
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M")
    + (256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
}
ENCODERS = ("direct", "rate")
NORMALIZATIONS = ("stepwise", "merged")
HEAD_SIZE = 7


def spiking_vgg(
    name,
    input_shape,
    num_classes,
    timesteps=4,
    neuron=None,
    encoder="direct",
    normalization="stepwise",
    mean=0.0,
    std=1.0,
    dropout=0.0,
):
    """Spiking VGG: convolution, normalisation, LIF and dropout per layer, one dense layer on top.

    Pixel normalisation is the first layer, so that attacks act on pixels. With direct encoding the
    image is repeated after the first convolution and normalisation. The last maps are pooled to
    7 x 7, whatever the input size (smaller ones are replicated), and a map of odd size drops its
    last row and column at each halving; one of size 1 is no longer halved.

    Args:
        name: `"vgg5"`, `"vgg11"`, `"vgg13"` or `"vgg16"`; they count 3, 8, 10 and 13 convolutions.
        input_shape: `(height, width, channels)`, or `(channels, height, width)` where Keras is
            configured to `channels_first`.
        num_classes: number of classes, at least 2.
        timesteps: number of steps `T`, at least 1.
        neuron: keyword arguments of `keras_dep.LIF` other than `timesteps`.
        encoder: `"direct"`, or `"rate"` for Bernoulli spikes of the pixel values, which are not
            normalised.
        normalization: `"stepwise"` (statistics per time step, as in the paper's code) or `"merged"`
            (over time and batch together).
        mean: mean of the pixels, a number or one per channel.
        std: standard deviation of the pixels, likewise, positive.
        dropout: dropout rate after each LIF layer, one mask for all steps.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134.

    Example:

    >>> spiking_vgg("vgg5", (32, 32, 3), num_classes=10).count_params()
    287242
    """
    _check(name, input_shape, num_classes, encoder, normalization)
    timewise.check_timesteps(timesteps)
    first = keras.config.image_data_format() == "channels_first"
    axis = 1 if first else -1
    neuron = dict(neuron or {})

    def normalise(x, steps):
        if normalization == "merged":
            return layers.BatchNormalization(axis=axis, momentum=0.9, epsilon=1e-5)(x)
        if steps == timesteps:
            return StepwiseBatchNormalization(timesteps, axis=axis, momentum=0.9, epsilon=1e-5)(x)
        # Before the image is repeated one update stands for `timesteps` equal ones.
        return layers.BatchNormalization(axis=axis, momentum=0.9**timesteps, epsilon=1e-5)(x)

    inputs = keras.Input(input_shape, name="image")
    if encoder == "direct":
        x, steps = _pixel_normalization(mean, std, axis)(inputs), 1
    else:
        x, steps = encoders.RateEncoding(timesteps)(inputs), timesteps
    for stage in STAGES[name]:
        if stage == "M":
            if min(x.shape[2:] if first else x.shape[1:3]) > 1:
                x = layers.AveragePooling2D(2)(x)
            continue
        x = layers.Conv2D(
            stage,
            3,
            padding="same",
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
        )(x)
        x = normalise(x, steps)
        if steps == 1 and timesteps > 1:
            x, steps = encoders.DirectEncoding(timesteps)(x), timesteps
        x = LIF(timesteps, **neuron)(x)
        if dropout:
            x = timewise.TimeSharedDropout(dropout, timesteps)(x)
    x = layers.AdaptiveAveragePooling2D(HEAD_SIZE)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
    )(x)
    return keras.Model(
        inputs, timewise.Steps(timesteps, dtype="float32", name="logits")(x), name=name
    )


def _check(name, input_shape, num_classes, encoder, normalization):
    if name not in STAGES:
        raise ValueError(f"name must be one of {', '.join(STAGES)}; received {name!r}.")
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape must be three positive sizes; received {input_shape}; an example is "
            "(32, 32, 3)."
        )
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2; received {num_classes}.")
    if encoder not in ENCODERS:
        raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}; received {encoder!r}.")
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"normalization must be one of {', '.join(NORMALIZATIONS)}; received {normalization!r}."
        )


def _pixel_normalization(mean, std, axis):
    if np.min(std) <= 0:
        raise ValueError(f"std must be positive; received {std}; 1.0 leaves pixels as they are.")
    variance = np.square(np.asarray(std, "float32"))
    if np.ndim(mean) == 0 and np.ndim(std) == 0:
        axis = None
    return layers.Normalization(axis=axis, mean=np.asarray(mean, "float32"), variance=variance)
