"""Homeostatic neurons with adapting thresholds (HoSNN)."""

import functools
import os

import numpy as np

from keras_dep._internal import model_files
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.layers import ThresholdAdaptingLIF
from keras_dep.profiling.signature import membrane_signature


@register
def hosnn(theta: float = 0.2, signature: str | None = None) -> Defence:
    """Lets thresholds follow the distance of each membrane to that of a plainly trained network.

    See `keras_dep.layers.ThresholdAdaptingLIF`. Left out of the source: its synapses, its loss on
    filtered spike trains, the bound of 4 on weights; `hosnn+clip` clips the gradient as it does.

    Args:
        theta: start of the rate of adaptation, not negative.
        signature: file that `numpy.savez` wrote of `keras_dep.profiling.membrane_signature`;
            default: collected from the run of `sgd` beside this one.

    Raises:
        ValueError: an option outside its limits; in a run, no signature or a wrong one.

    Example:

    >>> hosnn(theta=0.0).neuron is None
    True
    """
    ThresholdAdaptingLIF(1, theta=theta)
    if not theta:
        return Defence()

    def prepare(network, plan):
        found = _read(signature) if signature else _collected(plan)
        neurons = [layer for layer in network.layers if isinstance(layer, ThresholdAdaptingLIF)]
        for layer in neurons:
            if layer.name not in found:
                raise ValueError(
                    f"the signature must hold {layer.name}; received {', '.join(found)}; collect "
                    "it from a network of the same architecture."
                )
            layer.set_signature(found[layer.name])
        return []

    return Defence(neuron=functools.partial(ThresholdAdaptingLIF, theta=theta), callbacks=prepare)


def _read(path):
    try:
        with np.load(os.path.expanduser(path)) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"signature {path!r} cannot be read ({error}); write it with numpy.savez, or leave it "
            "out."
        ) from error


def _collected(plan):
    """The signature of the network that plain training left beside this run."""
    path = os.path.join(plan.runs or "", "sgd", "model.keras")
    if plan.runs is None or plan.images is None or not os.path.isfile(path):
        raise ValueError(
            f"hosnn needs the signature of a plainly trained network; received none in {path!r}; "
            "train sgd first, as in methods=sgd,hosnn, or give signature='file.npz'."
        )
    return membrane_signature(model_files.load_network(path), plan.images)
