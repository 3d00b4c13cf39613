"""What each weight is to its layer, by the layer's type: it decides how a gradient is folded."""

import dataclasses
import re

from keras import layers

from keras_dep import _backend
from keras_dep.optimizers.owners import owners


@dataclasses.dataclass(frozen=True)
class Role:
    """What a weight is to its layer.

    Attributes:
        what: in words, with the type of the layer.
        outputs: the axes that count outputs; `None` where the weight maps no inputs to outputs, as
            biases and gains do.
        layout: the shape whose axes are meant, where it is not that of the weight.
    """

    what: str
    outputs: tuple | None = None
    layout: tuple | None = None


def roles(variables):
    """The role of each variable.

    It follows from the type of the layer that holds the variable and from the attribute under which
    it does, never from a name that a user chose. A subclass takes after its base. Of a layer of
    another type, or a variable that no layer holds, only the shape is known: vectors and scalars
    are left alone, and the last axis counts outputs.

    Args:
        variables: list of `keras.Variable`s.

    Returns:
        List of `Role`s.
    """
    return [
        _overwritten(variable) or _by_owner(variable, holders) or _by_shape(variable, holders)
        for variable, holders in zip(variables, owners(variables))
    ]


def _overwritten(variable):
    if getattr(variable, "overwrite_with_gradient", False):
        return Role("constant of quantisation, overwritten by its gradient")
    return None


def _by_owner(variable, holders):
    # Of several the layer that made it comes first, as its path is part of the variable's.
    def distance(layer):
        return not variable.path.startswith(f"{layer.path}/"), layer.path

    found = (_in_layer(variable, layer) for layer in sorted(holders, key=distance))
    return next(filter(None, found), None)


def _in_layer(variable, layer):
    if isinstance(layer, layers.TorchModuleWrapper):
        return Role(*_backend.module_role(layer.module, variable))
    # What holds the value of a property has a leading underscore.
    names = {name.lstrip("_") for name, value in vars(layer).items() if value is variable}
    for kind in type(layer).__mro__:
        for name in sorted(names & _ROLES.get(kind, {}).keys()):
            what, outputs = _ROLES[kind][name]
            if callable(outputs):
                outputs = outputs(layer)
            return Role(f"{what} of {kind.__name__}", outputs)
    return None


def _by_shape(variable, holders):
    known = f"weight of {type(holders[0]).__name__}" if holders else "weight of no layer"
    rank = len(variable.shape)
    if rank < 2:
        return Role(f"{known}: a {'vector' if rank else 'scalar'}")
    return Role(f"{known}: by its shape", (rank - 1,))


def _summed_over_inputs(layer):
    """The axes of an einsum's kernel that its result has; the rest is summed over."""
    _, kernel, result = re.split(",|->", layer.equation.replace(" ", ""))
    outputs = tuple(axis for axis, label in enumerate(kernel) if label in result)
    # A kernel that nothing is summed over scales its input.
    return outputs if len(outputs) < len(kernel) else None


_LAST = (-1,)
_KERNEL = ("kernel", _LAST)
_DEPTHWISE = ("depthwise kernel", (-2, -1))
_BIAS = ("bias", None)
_GAIN = ("gain", None)
_FACTOR = ("low-rank factor", None)
_ADAPTED = {"lora_kernel_a": _FACTOR, "lora_kernel_b": _FACTOR}
_MAP = {"kernel": _KERNEL, "bias": _BIAS, **_ADAPTED}
_RECURRENT = {"kernel": _KERNEL, "recurrent_kernel": _KERNEL, "bias": _BIAS}
_NORMALIZATION = {"gamma": _GAIN, "beta": _BIAS, "scale": _GAIN}
_ATTENTION = {"scale": _GAIN, "concat_score_weight": _GAIN}

# By type and attribute. Attention layers hold einsums, recurrent layers cells, and wrappers layers.
_ROLES = {
    layers.Dense: _MAP,
    layers.EinsumDense: {**_MAP, "kernel": ("kernel", _summed_over_inputs)},
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _MAP),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
        {"kernel": ("transposed kernel", (-2,)), "bias": _BIAS},
    ),
    **dict.fromkeys(
        (layers.DepthwiseConv1D, layers.DepthwiseConv2D), {"kernel": _DEPTHWISE, "bias": _BIAS}
    ),
    **dict.fromkeys(
        (layers.SeparableConv1D, layers.SeparableConv2D),
        {
            "depthwise_kernel": _DEPTHWISE,
            "pointwise_kernel": ("pointwise kernel", _LAST),
            "bias": _BIAS,
        },
    ),
    **dict.fromkeys((layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell), _RECURRENT),
    layers.Embedding: {
        "embeddings": ("embeddings", _LAST),
        "lora_embeddings_a": _FACTOR,
        "lora_embeddings_b": _FACTOR,
    },
    layers.ReversibleEmbedding: {"reverse_embeddings": _KERNEL},
    layers.STFTSpectrogram: {"real_kernel": _KERNEL, "imag_kernel": _KERNEL},
    **dict.fromkeys(
        (
            layers.BatchNormalization,
            layers.GroupNormalization,
            layers.LayerNormalization,
            layers.RMSNormalization,
        ),
        _NORMALIZATION,
    ),
    **dict.fromkeys((layers.Attention, layers.AdditiveAttention), _ATTENTION),
    layers.PReLU: {"alpha": ("slope", None)},
}
