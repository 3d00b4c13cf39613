"""The role of a parameter in its torch module: torch's layers hold outputs first."""

from collections.abc import Callable
from typing import Any

import keras
from torch import nn

from keras_dep._backend.generic import Role
from keras_dep._internal.types import Tensor


def module_role(module: Any, variable: keras.Variable) -> Role:
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter is variable.value:
                return _role(owner, name, parameter)
        for name, parametrization in getattr(owner, "parametrizations", {}).items():
            parameters = list(parametrization.parameters())
            for parameter in parameters:
                if parameter is variable.value:
                    # A norm stored apart from its direction has one entry per output.
                    whole = max(parameters, key=lambda part: part.numel())
                    return _role(owner, name if parameter is whole else f"{name}_g", parameter)
    return _by_shape(module, variable.value)


def _role(module: Any, name: str, parameter: Tensor) -> Role:
    kind = next((kind for kind in type(module).__mro__ if kind in _ROLES), None)
    return _by_shape(module, parameter) if kind is None else _ROLES[kind](module, name, parameter)


def _by_shape(module: Any, parameter: Tensor) -> Role:
    known = f"weight of torch's {type(module).__name__}"
    if parameter.ndim < 2:
        return f"{known}: a {'vector' if parameter.ndim else 'scalar'}", None, None
    return f"{known}: by its shape, outputs first", (0,), None


def _kernel(
    outputs: Callable[[Any, Tensor], tuple[tuple[int, ...], tuple[int, ...] | None]],
) -> Callable[[Any, str, Tensor], Role]:
    def role(module: Any, name: str, parameter: Tensor) -> Role:
        of = f"of torch's {type(module).__name__}"
        # Attention adds `bias_k` and `bias_v`; `_g` is the gain of a normalised weight.
        if "bias" in name or name.endswith("_g"):
            return f"{'bias' if 'bias' in name else 'gain'} {of}", None, None
        return f"kernel {of}", *outputs(module, parameter)

    return role


def _first(module: Any, parameter: Tensor) -> tuple[tuple[int, ...], None]:
    return (0,), None


def _second(module: Any, parameter: Tensor) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Axes of the outputs of `(inputs, outputs of a group, ...)`: groups share the first axis."""
    inputs, outputs, *window = parameter.shape
    if module.groups == 1:
        return (1,), None
    return (0, 2), (module.groups, inputs // module.groups, outputs, *window)


def _looked_up(module: Any, name: str, parameter: Tensor) -> Role:
    return f"embeddings of torch's {type(module).__name__}", (-1,), None


def _scale_or_shift(module: Any, name: str, parameter: Tensor) -> Role:
    part = "bias" if "bias" in name else "gain"
    return f"{part} of torch's {type(module).__name__}", None, None


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_NORMALIZATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.PReLU),
)
_ROLES: dict[type, Callable[[Any, str, Tensor], Role]] = {
    **dict.fromkeys((nn.Linear, nn.Bilinear, nn.MultiheadAttention), _kernel(_first)),
    **dict.fromkeys((*_CONVOLUTIONS, *_RECURRENT), _kernel(_first)),
    **dict.fromkeys(_TRANSPOSED, _kernel(_second)),
    **dict.fromkeys((nn.Embedding, nn.EmbeddingBag), _looked_up),
    **dict.fromkeys(_NORMALIZATIONS, _scale_or_shift),
}
