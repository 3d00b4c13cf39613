"""Homeostatic neurons with adapting thresholds (HoSNN)."""

import functools
import os
import zipfile

import keras
import numpy as np

from keras_dep._internal import model_files
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.data import pixels
from keras_dep.defences.defence import Defence
from keras_dep.defences.defence import TrainingPlan
from keras_dep.defences.registry import register
from keras_dep.layers import ThresholdAdaptingLIF
from keras_dep.layers.overrides import spiking_layers
from keras_dep.profiling.signature import membrane_signature


@register
def hosnn(theta: float = 0.2, signature: str | None = None) -> Defence:
    """Adapts each threshold by the distance of the membrane to that of a plainly trained network.

    See `keras_dep.layers.ThresholdAdaptingLIF`. The signature is collected when training begins; a
    resumed run has it in its state. Not implemented are the source's synapses, its loss on filtered
    spike trains and its bound of 4 on weights. `hosnn+clip` clips the gradient as the source does.

    Args:
        theta: start of the rate of adaptation, not negative; 0 is plain training.
        signature: an npz file with the signature, written by `numpy.savez(path, **signature)` of
            `keras_dep.profiling.membrane_signature`; default: collected from the run of `sgd` in
            the folder of this one.

    Raises:
        ValueError: an option outside its limits; in a run, no signature or one of another network.

    Source: Geng and Li, arXiv 2308.10373 and TMLR 2025.

    Example:

    >>> hosnn(theta=0.0).neuron is None
    True
    """
    ThresholdAdaptingLIF(1, theta=theta)
    if not theta:
        return Defence()

    return Defence(
        neuron=functools.partial(ThresholdAdaptingLIF, theta=theta),
        callbacks=lambda network, plan: [_Signature(network, plan, signature)],
        needs=() if signature else ("sgd",),
    )


class _Signature(keras.callbacks.Callback):
    """Sets the signature when training begins, unless the state of a resumed run holds it."""

    def __init__(self, network: keras.Model, plan: TrainingPlan, path: str | None):
        super().__init__()
        self.network = network
        self.plan = plan
        self.path = path
        self.is_set = False

    def on_train_begin(self, logs=None):
        if self.is_set:
            return
        found = _read(self.path) if self.path else _collected(self.plan)
        for layer in spiking_layers(self.network):
            if layer.name not in found:
                raise ValueError(
                    f"the signature must hold {layer.name}; received {', '.join(found)}; collect "
                    "it from a network of the same architecture."
                )
            layer.set_signature(found[layer.name])
        self.is_set = True

    def get_state(self) -> Record:
        """What a resumed run must know."""
        return {"is_set": self.is_set}

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.is_set = state["is_set"]


def _read(path: str) -> dict[str, Array]:
    try:
        file = np.load(os.path.expanduser(path))
        if isinstance(file, np.lib.npyio.NpzFile):
            with file:
                return dict(file)
        problem = "it holds no names"
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        problem = str(error)
    raise ValueError(
        f"signature {path!r} cannot be read ({problem}); write it with numpy.savez, or leave it "
        "out."
    )


def _collected(plan: TrainingPlan) -> dict[str, Array]:
    """The signature of the network that plain training left in the folder of the runs."""
    path = os.path.join(plan.runs or "", "sgd", "model.keras")
    if plan.runs is None or plan.images is None or not os.path.isfile(path):
        raise ValueError(
            f"hosnn needs the signature of a plainly trained network; received none in {path!r}; "
            "train sgd first, as in methods=sgd,hosnn, or give signature='file.npz'."
        )
    return membrane_signature(model_files.load_network(path), pixels.Scaled(plan.images))
