"""Torch networks for the apps: a function in a file, and a file of weights."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

# An app loads this module before it has chosen a backend.
if TYPE_CHECKING:
    import keras

    from keras_dep._internal.types import Array
    from keras_dep._internal.types import Record

# Keys under which training scripts keep the weights in a checkpoint.
KEYS = ("state_dict", "model_state_dict", "model", "net")
# Names that a message lists.
SHOWN = 5


def load(
    function: str,
    weights: str | None,
    input_shape: Sequence[int],
    timesteps: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    images: Array,
) -> tuple[keras.Model, Record]:
    """Loads a torch network as a Keras model for given images. Runs the code of the file.

    Args:
        function: `FILE.py:FUNCTION`; the function takes no arguments and returns the module.
        weights: file of a `state_dict`, read with `weights_only=True`; `None` for the weights that
            the function sets.
        input_shape: shape of one image as the module takes it, channels first.
        timesteps: as in `keras_dep.interop.from_torch`.
        mean: mean per channel, or nothing.
        std: likewise.
        images: images in [0, 1] to prove the copy on, channels first or last.

    Returns:
        The model, which takes images like the given ones, and its origin, for the report.

    Raises:
        ValueError: a file or function that is missing or fails, weights that do not fit, or
            anything that `from_torch` refuses; one line.
    """
    from keras_dep.interop import from_torch

    module = _made(function)
    if weights:
        _load_weights(module, os.path.expanduser(weights))
    given, first = tuple(images.shape[1:]), tuple(input_shape)
    last = (*first[:-3], *first[-2:], first[-3]) if len(first) > 2 else first
    if given not in (first, last):
        raise ValueError(
            f"input_shape must be that of the images, {given}, with channels first; received "
            f"{','.join(map(str, first))}."
        )
    model = from_torch(
        module,
        given,
        timesteps,
        list(mean) or None,
        list(std) or None,
        data_format="channels_first" if given == first else "channels_last",
        images=images,
    )
    facts = {"model_file": os.path.basename(function)}
    if weights:
        facts["weights_file"] = os.path.basename(weights)
    return model, facts


def check(function: str) -> tuple[str, str]:
    """The file and the function of `FILE.py:FUNCTION`.

    Raises:
        ValueError: another form, or a file that is not there.
    """
    path, _, name = function.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise ValueError(f"torch must be FILE.py:FUNCTION; received {function!r}.")
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise ValueError(f"torch names the file {path!r}, which is not there.")
    return path, name


def _made(function: str) -> Any:
    import torch

    path, name = check(function)
    folder = os.path.dirname(os.path.abspath(path))
    title = os.path.splitext(os.path.basename(path))[0]
    specification = importlib.util.spec_from_file_location(title, path)
    if specification is None or specification.loader is None:
        raise ValueError(f"torch names the file {path!r}, which Python cannot load.")
    source = importlib.util.module_from_spec(specification)
    # As if the file were run: it may import its neighbours, and its classes may be pickled.
    sys.path.insert(0, folder)
    sys.modules.setdefault(title, source)
    try:
        specification.loader.exec_module(source)
        make = getattr(source, name, None)
        if not callable(make):
            raise ValueError(f"torch names the function {name!r}, which {path!r} does not have.")
        module = make()
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{path!r} raises {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    if not isinstance(module, torch.nn.Module):
        raise ValueError(
            f"torch must name a function that returns a torch.nn.Module; {name!r} returns "
            f"{type(module).__name__}."
        )
    return module


def _load_weights(module: Any, path: str) -> None:
    import torch

    if not os.path.isfile(path):
        raise ValueError(f"weights {path!r} are not there.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:120]
        raise ValueError(
            f"weights {path!r} must be a state_dict of tensors, as torch.save(module.state_dict(), "
            f"path) writes it; torch.load says: {reason}"
        ) from error
    for key in KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(map(torch.is_tensor, found.values())):
        raise ValueError(f"weights {path!r} must be a state_dict of tensors; it has other content.")
    if found and all(name.startswith("module.") for name in found):
        # As DataParallel names them.
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    own = module.state_dict()
    faults = {
        "missing": [name for name in own if name not in found],
        "unknown": [name for name in found if name not in own],
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in found and found[name].shape != tensor.shape
        ],
    }
    said = "; ".join(f"{what}: {_listed(names)}" for what, names in faults.items() if names)
    if said:
        raise ValueError(f"weights {path!r} do not fit the module; {said}.")
    module.load_state_dict(found)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
