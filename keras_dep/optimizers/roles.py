"""Roles of weights, by the type of their layer; they decide how a gradient is folded."""

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import layers

from keras_dep import _backend
from keras_dep.deflation.projection import OutputAxes
from keras_dep.optimizers.owners import owners


@dataclasses.dataclass(frozen=True)
class Role:
    """The role of a weight in its layer.

    Attributes:
        what: description with the type of the layer, such as "kernel of Dense".
        outputs: the axes that count outputs; `None` for weights such as biases and gains, which map
            no inputs to outputs.
        layout: shape to which `outputs` refers, if it is not the shape of the weight.
    """

    what: str
    outputs: OutputAxes | None = None
    layout: tuple[int, ...] | None = None


def roles(variables: Sequence[keras.Variable]) -> list[Role]:
    """Finds the role of each variable.

    It depends on the type of the layer that holds the variable and on the attribute that holds it,
    never on a name that a user chose. A subclass has the roles of its base class. For layers of
    other types, and variables without a layer, only the shape is known: vectors and scalars have no
    outputs, and of other shapes the last axis counts outputs.

    Args:
        variables: the variables.

    Returns:
        A `Role` for each variable, in order.
    """
    return [
        _overwritten(variable) or _by_owner(variable, holders) or _by_shape(variable, holders)
        for variable, holders in zip(variables, owners(variables))
    ]


def _overwritten(variable: keras.Variable) -> Role | None:
    if getattr(variable, "overwrite_with_gradient", False):
        return Role("constant of quantisation, overwritten by its gradient")
    return None


def _by_owner(variable: keras.Variable, holders: Sequence[layers.Layer]) -> Role | None:
    # The layer that created the variable comes first: its path is part of the variable's.
    def distance(layer: layers.Layer) -> tuple[bool, str]:
        return not variable.path.startswith(f"{layer.path}/"), layer.path

    found = (_in_layer(variable, layer) for layer in sorted(holders, key=distance))
    return next(filter(None, found), None)


def _in_layer(variable: keras.Variable, layer: layers.Layer) -> Role | None:
    if isinstance(layer, layers.TorchModuleWrapper):
        return Role(*_backend.module_role(layer.module, variable))
    # The attribute behind a property has a leading underscore.
    names = {name.lstrip("_") for name, value in vars(layer).items() if value is variable}
    for kind in type(layer).__mro__:
        for name in sorted(names & _ROLES.get(kind, {}).keys()):
            what, outputs = _ROLES[kind][name]
            if callable(outputs):
                outputs = outputs(layer)
            return Role(f"{what} of {kind.__name__}", outputs)
    return None


def _by_shape(variable: keras.Variable, holders: Sequence[layers.Layer]) -> Role:
    known = f"weight of {type(holders[0]).__name__}" if holders else "weight of no layer"
    rank = len(variable.shape)
    if rank < 2:
        return Role(f"{known}: a {'vector' if rank else 'scalar'}")
    return Role(f"{known}: by its shape", (rank - 1,))


def _einsum_outputs(layer: layers.EinsumDense) -> tuple[int, ...] | None:
    """The axes of an einsum's kernel that are axes of its result; it sums over the others."""
    _, kernel, result = re.split(",|->", layer.equation.replace(" ", ""))
    outputs = tuple(axis for axis, label in enumerate(kernel) if label in result)
    # A kernel without summed axes is a gain.
    return outputs if len(outputs) < len(kernel) else None


# Axes, or a function of the layer that finds them; `None` without outputs.
_Outputs: TypeAlias = tuple[int, ...] | Callable[[layers.Layer], tuple[int, ...] | None] | None
_ByAttribute: TypeAlias = Mapping[str, tuple[str, _Outputs]]

_LAST = (-1,)
_KERNEL = ("kernel", _LAST)
_DEPTHWISE = ("depthwise kernel", (-2, -1))
_BIAS = ("bias", None)
_GAIN = ("gain", None)
_FACTOR = ("low-rank factor", None)
_ADAPTED = {"lora_kernel_a": _FACTOR, "lora_kernel_b": _FACTOR}
_MAP: _ByAttribute = {"kernel": _KERNEL, "bias": _BIAS, **_ADAPTED}
_RECURRENT: _ByAttribute = {"kernel": _KERNEL, "recurrent_kernel": _KERNEL, "bias": _BIAS}
_NORMALIZATION: _ByAttribute = {"gamma": _GAIN, "beta": _BIAS, "scale": _GAIN}
_ATTENTION: _ByAttribute = {"scale": _GAIN, "concat_score_weight": _GAIN}

# By type and attribute. Attention layers hold einsum layers, and recurrent layers hold cells.
_ROLES: dict[type, _ByAttribute] = {
    layers.Dense: _MAP,
    layers.EinsumDense: {**_MAP, "kernel": ("kernel", _einsum_outputs)},
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
