"""One door to every network: `build("vgg11", input_shape=(32, 32, 3), num_classes=10)`."""

from keras_dep._internal import validation
from keras_dep.models import nf_resnet
from keras_dep.models import resnet
from keras_dep.models import sew_resnet
from keras_dep.models import vgg
from keras_dep.models import wide_resnet

_BUILDERS = {
    **{name: vgg.spiking_vgg for name in vgg.STAGES},
    **{name: vgg.deep_headed_vgg for name in vgg.DEEP_HEADED_STAGES},
    **{name: resnet.preactivation_resnet for name in resnet.BLOCKS},
    **{name: nf_resnet.nf_resnet for name in nf_resnet.BLOCKS},
    **{name: wide_resnet.wide_resnet for name in wide_resnet.SIZES},
    **{name: sew_resnet.sew_resnet for name in sew_resnet.BLOCKS},
}


def names():
    """Names that `build` knows.

    Example:

    >>> "vgg5" in names()
    True
    """
    return tuple(_BUILDERS)


def build(name, **options):
    """Builds a network by name.

    | name | network | made for |
    |---|---|---|
    | `vgg5`, `vgg11`, `vgg13`, `vgg16` | the paper's: `keras_dep.models.vgg` | any size |
    | `vgg11_rat` | SNN-RAT's "VGG-11" | 32 x 32 |
    | `resnet18`, `resnet34` | pre-activation: `keras_dep.models.resnet` | 32 x 32 |
    | `nf_resnet18`, `nf_resnet34` | without normalisation | 224 x 224 |
    | `wrn16_4` | SNN-RAT's "WRN-16" | 32 x 32 |
    | `sew_resnet18` | spike-element-wise | 224 x 224 |

    Args:
        name: one of `names()`.
        **options: `input_shape` and `num_classes`, and on request `timesteps`, `neuron`,
            `after_spikes`, `encoder`, `normalization`, `dropout`, `spiking`, `mean`, `std`, as in
            `keras_dep.models.builder.NetworkBuilder`. `spiking=False` gives the network's twin of
            ReLUs, whose weights fit this one's and the other way round.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)` in [0, 1], or with
        `encoder="events"` from frames `(batch, timesteps, height, width, channels)`, to logits
        `(batch, timesteps, num_classes)`; one step for images without spikes.

    Raises:
        ValueError: unknown name, or an option outside its limits.

    Example:

    >>> model = build("vgg5", input_shape=(8, 8, 1), num_classes=10)
    >>> model.output_shape
    (None, 4, 10)
    """
    return _BUILDERS[validation.one_of("model", name, names())](name, **options)
