"""Protocol variables of a model and a measurement, as plain values."""

import hashlib
import platform

import keras
import numpy as np

from keras_dep import _backend
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.evaluation import coverage
from keras_dep.layers import encoders
from keras_dep.layers.base import SpikingLayer
from keras_dep.layers.frequency_encoding import FrequencyEncoding
from keras_dep.layers.stochastic_gate import StochasticGate
from keras_dep.models import inference

ENCODERS = (
    encoders.DirectEncoding,
    encoders.LatencyEncoding,
    encoders.RateEncoding,
    FrequencyEncoding,
)
NORMALIZATION = (keras.layers.Normalization, keras.layers.Rescaling)
HALF = ("float16", "bfloat16")


def describe(model: keras.Model) -> Record:
    """Reads the protocol variables of a model from its layers.

    Returns:
        Dictionary with `model`, `parameters`, `neurons` (each distinct kind, with its constants as
        they are now and its number of layers), `gates` likewise where there are any,
        `unknown_layers` (see `coverage.unknown_layers`),
        `encoders`, `normalization` (whether pixels are normalised inside the model),
        `dtype_policy` and `weight_dtype` (those of all layers), `data_format`, and how the model is
        called: `mode`, `state`, `pixels`.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
    >>> describe(model)["neurons"], describe(model)["dtype_policy"]
    ([], 'bfloat16')
    """
    layers = list(keras_internals.all_layers(model, include_self=False))
    unknown = coverage.unknown_layers(model)
    gates = _kinds("gate", [each for each in layers if isinstance(each, StochasticGate)])
    return {
        "model": model.name,
        "parameters": model.count_params(),
        "neurons": _kinds("neuron", [each for each in layers if isinstance(each, SpikingLayer)]),
        **({"gates": gates} if gates else {}),
        "unknown_layers": unknown,
        "encoders": sorted({_encoder(each) for each in layers if isinstance(each, ENCODERS)}),
        "normalization": "inside the model"
        if any(isinstance(each, NORMALIZATION) for each in layers)
        else "none in front of the model",
        "dtype_policy": ", ".join(sorted({each.dtype_policy.name for each in _computing(model)})),
        "weight_dtype": ", ".join(_weight_dtypes(model)) or "none",
        "data_format": ", ".join(inference.data_formats(model)) or "none",
        "mode": "inference: statistics of normalisation fixed, no dropout",
        "state": "as the unknown layers keep it"
        if unknown
        else "membranes start at 0 in every pass, also between the steps of an attack",
        "pixels": "[0, 1]",
    }


def is_half(model: keras.Model) -> bool:
    """Tells whether any layer computes, or holds weights, in half precision."""
    dtypes = {layer.compute_dtype for layer in _computing(model)} | set(_weight_dtypes(model))
    return bool(dtypes & set(HALF))


def surroundings() -> Record:
    """Returns backend and versions."""
    return {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def with_facts(protocol: Record, facts: Record | None) -> Record:
    """A protocol with further variables.

    Raises:
        ValueError: one of them has the name of a part of the protocol.
    """
    if known := protocol.keys() & (facts or {}).keys():
        raise ValueError(
            f"facts must not replace what is measured; received {', '.join(sorted(known))}; use "
            "other names."
        )
    return {**protocol, **(facts or {})}


def of_weights(model: keras.Model) -> str:
    """The fingerprint of all that a network has learned, buffers of torch modules included.

    Args:
        model: a built `keras.Model`.
    """
    return fingerprint(*model.get_weights(), *_backend.buffers(model))


def fingerprint(*arrays: Array) -> str:
    """Returns sixteen hexadecimal digits that change with any array."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _computing(model):
    """Returns the layers that compute; a graph of layers does not."""
    return [
        layer
        for layer in keras_internals.all_layers(model)
        if not isinstance(layer, (keras.Sequential, keras.layers.InputLayer))
        and not getattr(layer, "operations", None)
    ]


def _weight_dtypes(model):
    return sorted({keras.backend.standardize_dtype(weight.dtype) for weight in model.weights})


def _kinds(what: str, layers: list) -> list[Record]:
    """Each distinct kind among layers, with its constants and the number of such layers."""
    kinds: dict[tuple, int] = {}
    for layer in layers:
        facts = {what: type(layer).__name__, "timesteps": layer.timesteps}
        facts |= {name: getattr(layer, name) for name in layer.CONSTANTS}
        facts |= {name: _span(values) for name, values in layer.learnt_constants().items()}
        key = tuple(facts.items())
        kinds[key] = kinds.get(key, 0) + 1
    return [{**dict(key), "layers": count} for key, count in kinds.items()]


def _span(values):
    least, most = float(np.min(values)), float(np.max(values))
    return least if least == most else f"{least:.6g} to {most:.6g}"


def _encoder(layer):
    facts = getattr(layer, "law", None)
    if isinstance(layer, FrequencyEncoding):
        radii = " ".join(f"{radius:g}" for radius in layer.present_radii)
        facts = f"{layer.mask}, {layer.part}, radii {radii}"
    return type(layer).__name__ + (f" ({facts})" if facts else "")
