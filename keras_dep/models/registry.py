"""Every network by its name: `build("vgg11", input_shape=(32, 32, 3), num_classes=10)`."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_dep._internal import validation
from keras_dep.models import nf_resnet
from keras_dep.models import resnet
from keras_dep.models import sew_resnet
from keras_dep.models import vgg
from keras_dep.models import wide_resnet
from keras_dep.models.builder import NetworkBuilder

# Names, the function (builder, name, input_shape, num_classes) -> model, and its normalisation.
_FAMILIES = (
    (vgg.STAGES, vgg.spiking_vgg, "stepwise"),
    (vgg.DEEP_HEADED_STAGES, vgg.deep_headed_vgg, "merged"),
    (resnet.BLOCKS, resnet.preactivation_resnet, "stepwise"),
    (nf_resnet.BLOCKS, nf_resnet.nf_resnet, "stepwise"),
    (wide_resnet.SIZES, wide_resnet.wide_resnet, "merged"),
    (sew_resnet.BLOCKS, sew_resnet.sew_resnet, "stepwise"),
)
_NETWORKS = {
    name: (network, normalization) for names, network, normalization in _FAMILIES for name in names
}


def names() -> tuple[str, ...]:
    """The names that `build` accepts.

    Example:

    >>> "vgg5" in names()
    True
    """
    return tuple(_NETWORKS)


def build(
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    timesteps: int = 4,
    neuron: Mapping[str, Any] | Callable[..., keras.layers.Layer] | None = None,
    after_spikes: Callable[..., keras.layers.Layer] | None = None,
    encoder: str | Callable[..., keras.layers.Layer] = "direct",
    normalization: str | None = None,
    dropout: float = 0.0,
    spiking: bool = True,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> keras.Model:
    """Builds a network by name.

    | name | network | made for |
    |---|---|---|
    | `vgg5`, `vgg11`, `vgg13`, `vgg16` | the paper's: `keras_dep.models.vgg` | any size |
    | `vgg11_rat` | SNN-RAT's "VGG-11" | 32 x 32 |
    | `resnet18`, `resnet34` | pre-activation: `keras_dep.models.resnet` | 32 x 32 |
    | `nf_resnet18`, `nf_resnet34` | without normalisation | 224 x 224 |
    | `wrn16_4` | SNN-RAT's "WRN-16" | 32 x 32 |
    | `sew_resnet18` | spike-element-wise | 224 x 224 |

    Layers are named by kind and number (`conv1`, `norm1`, `lif1`), the same in every network of an
    architecture and for every neuron. Pixel normalisation is a layer of the network, so that
    attacks act on pixels.

    `neuron`, `after_spikes` and `encoder` accept a callable `(timesteps=..., name=...) -> layer`: a
    layer class, or `functools.partial(MyNeuron, tau=2.0)`. Save networks with such layers as usual;
    register the classes by `keras.saving.register_keras_serializable`, so that they load.

    Args:
        name: one of `names()`.
        input_shape: `(height, width, channels)` of one image, or `(channels, height, width)` where
            Keras is configured to `channels_first`.
        num_classes: number of classes, at least 2.
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
            (`"merged"`), or those scaled to the threshold (`"tdbn"`). `None` is `"merged"` for
            SNN-RAT's networks and `"stepwise"` for the others, as in the sources. Networks without
            batch normalisation ignore it. `"tdbn"` reads the attribute `threshold` of the neuron;
            without it, 1.
        dropout: rate of the dropout layers, in [0, 1), with one mask for all steps.
        spiking: `False` for the ANN counterpart: ReLU in place of neurons, the same weights in the
            same order, no `after_spikes`. Under direct encoding it has one step, for any
            `timesteps`.
        mean: mean of the pixels, a number or one per channel.
        std: standard deviation of the pixels, likewise, positive.

    Returns:
        A `keras.Model` from images in [0, 1], `(batch, *input_shape)`, or with `encoder="events"`
        from frames `(batch, timesteps, *input_shape)`, to logits `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: unknown name, an argument outside its limits, or a callable that makes no layer.

    Example:

    >>> model = build("vgg5", input_shape=(8, 8, 1), num_classes=10)
    >>> model.output_shape
    (None, 4, 10)
    """
    network, usual = _NETWORKS[validation.one_of("model", name, names())]
    builder = NetworkBuilder(
        timesteps,
        neuron,
        after_spikes=after_spikes,
        encoder=encoder,
        normalization=usual if normalization is None else normalization,
        dropout=dropout,
        spiking=spiking,
        mean=mean,
        std=std,
    )
    return network(builder, name, input_shape, num_classes)
