"""Everything about a model and a measurement that decides the number, as plain values."""

import hashlib
import platform

import keras
import numpy as np

from keras_dep.neurons.lif import CONSTANTS

NEURON = ("timesteps", *CONSTANTS)


def describe(model):
    """The protocol variables that a model carries.

    Returns:
        Dictionary with `model`, `parameters`, `neurons` (each distinct kind, with its constants and
        its number of layers), `encoders`, `normalization` (whether pixels are normalised inside the
        model), and how the model is asked: `mode`, `state`, `pixels`.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> describe(model)["neurons"], describe(model)["pixels"]
    ([], '[0, 1]')
    """
    layers = list(model._flatten_layers(include_self=False))
    kinds = {}
    for layer in layers:
        if hasattr(layer, "surrogate"):
            facts = {"neuron": type(layer).__name__}
            facts |= {name: getattr(layer, name) for name in NEURON if hasattr(layer, name)}
            key = tuple(facts.items())
            kinds[key] = kinds.get(key, 0) + 1
    return {
        "model": model.name,
        "parameters": model.count_params(),
        "neurons": [{**dict(key), "layers": count} for key, count in kinds.items()],
        "encoders": sorted(
            {type(each).__name__ for each in layers if type(each).__name__.endswith("Encoding")}
        ),
        "normalization": "inside the model"
        if any(isinstance(each, keras.layers.Normalization) for each in layers)
        else "none in front of the model",
        "mode": "inference: statistics of normalisation fixed, no dropout",
        "state": "membranes start at 0 in every pass, also between the steps of an attack",
        "pixels": "[0, 1]",
    }


def surroundings():
    """Backend and versions."""
    return {
        "backend": keras.backend.backend(),
        "dtype_policy": keras.mixed_precision.dtype_policy().name,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def fingerprint(*arrays):
    """Sixteen hexadecimal digits that change with any array."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
