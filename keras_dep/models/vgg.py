"""Spiking VGG networks, as in the released code of the paper."""

import keras
from keras import layers

from keras_dep.models.cells import Cells
from keras_dep.models.pooling import PooledTo

# Numbers are output channels of 3x3 convolutions; "M" halves the map by average pooling.
STAGES = {
    "vgg5": (64, "M", 128, 128, "M"),
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M")
    + (256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
}
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
    if name not in STAGES:
        raise ValueError(f"name must be one of {', '.join(STAGES)}; received {name!r}.")
    cells = Cells(timesteps, neuron, encoder, normalization, dropout)
    inputs, x = cells.image(input_shape, mean, std)
    sides = slice(2, 4) if cells.axis == 1 else slice(1, 3)
    for stage in STAGES[name]:
        if stage != "M":
            x = cells.fire(cells.convolve(x, stage))
        elif min(x.shape[sides]) > 1:
            x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(PooledTo(HEAD_SIZE)(x))
    return keras.Model(inputs, cells.logits(x, num_classes), name=name)
