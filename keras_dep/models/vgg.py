"""Spiking VGG networks, as in the released code of the paper and of SNN-RAT."""

import keras

from keras_dep._internal import validation
from keras_dep.layers.pooling import AveragePooling2D
from keras_dep.layers.pooling import PooledTo
from keras_dep.models.builder import NetworkBuilder

# Numbers are output channels of 3x3 convolutions; "M" halves the map by average pooling.
STAGES = {
    "vgg5": (64, "M", 128, 128, "M"),
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M")
    + (256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
}
DEEP_HEADED_STAGES = {"vgg11_rat": (64, "M", 128, 256, "M", 512, 512, 512, "M", 512, 512)}
HEAD_SIZE = 7
DEEP_HEAD_WIDTH = 4096


def spiking_vgg(name, input_shape, num_classes, **options):
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
        **options: `timesteps`, `neuron`, `encoder`, `normalization`, `dropout`, `spiking`, `mean`
            and `std`, as in `keras_dep.models.builder.NetworkBuilder`.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of arXiv 2505.11134.

    Example:

    >>> spiking_vgg("vgg5", (32, 32, 3), num_classes=10).count_params()
    287242
    """
    validation.one_of("name", name, STAGES)
    cells = NetworkBuilder(**options)
    inputs, x = cells.image(input_shape)
    x = _maps(cells, x, STAGES[name])
    x = cells.flatten(PooledTo(HEAD_SIZE, name=cells.name("pool"))(x))
    return keras.Model(inputs, cells.logits(x, num_classes), name=name)


def deep_headed_vgg(name, input_shape, num_classes, normalization="merged", **options):
    """The spiking "VGG-11" of SNN-RAT and its followers: three dense layers on maps as they are.

    Their network differs from the paper's of that name in where it halves the map, in the head and
    in statistics merged over time, which is the default here. Their neurons are
    `neuron={"decay": 1.0, "reset": "hard"}`, their steps 8.

    Args:
        name: `"vgg11_rat"`.
        input_shape: `(height, width, channels)`, or `(channels, height, width)` where Keras is
            configured to `channels_first`; the head's size grows with it.
        num_classes: number of classes, at least 2.
        normalization: as in `keras_dep.models.builder.NetworkBuilder`.
        **options: the other options there.

    Returns:
        A `keras.Model` from pixels in [0, 1] to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: an argument outside its limits.

    Source: released code of SNN-RAT (Ding et al. 2022).

    Example:

    >>> deep_headed_vgg("vgg11_rat", (8, 8, 3), num_classes=10).output_shape
    (None, 4, 10)
    """
    cells = NetworkBuilder(normalization=normalization, **options)
    inputs, x = cells.image(input_shape)
    x = cells.flatten(_maps(cells, x, DEEP_HEADED_STAGES[name]))
    for _ in range(2):
        x = cells.drop(cells.spike(cells.dense(x, DEEP_HEAD_WIDTH)))
    return keras.Model(inputs, cells.logits(x, num_classes), name=name)


def _maps(cells, x, stages):
    sides = slice(2, 4) if cells.axis == 1 else slice(1, 3)
    for stage in stages:
        if stage != "M":
            x = cells.fire(cells.convolve(x, stage))
        elif min(x.shape[sides]) > 1:
            x = AveragePooling2D(2, name=cells.name("pool"))(x)
    return x
