"""One door to every network: `build("vgg11", input_shape=(32, 32, 3), num_classes=10)`."""

from keras_dep.models import resnet
from keras_dep.models import vgg

_BUILDERS = {
    **{name: vgg.spiking_vgg for name in vgg.STAGES},
    **{name: resnet.preactivation_resnet for name in resnet.BLOCKS},
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

    Args:
        name: one of `names()`.
        **options: as in the builder, `keras_dep.models.vgg.spiking_vgg` for the VGGs and
            `keras_dep.models.resnet.preactivation_resnet` for the ResNets.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)` in [0, 1] to logits
        `(batch, timesteps, num_classes)`.

    Raises:
        ValueError: unknown name, or an option outside its limits.

    Example:

    >>> model = build("vgg5", input_shape=(8, 8, 1), num_classes=10)
    >>> model.output_shape
    (None, 4, 10)
    """
    if name not in _BUILDERS:
        raise ValueError(f"model must be one of {', '.join(names())}; received {name!r}.")
    return _BUILDERS[name](name, **options)
