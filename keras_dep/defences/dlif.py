"""Gains per step and a penalty on perturbed membranes (DLIF)."""

from keras_dep.attacks import FGSM
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.layers import DLIF
from keras_dep.training import MembranePerturbation


@register
def dlif(rho: float = 1.0, kappa: float = 0.5, epsilon: float = 4 / 255) -> Defence:
    """Stabilises the last membrane against adversarial images, with gains per step in every neuron.

    See `keras_dep.layers.DLIF` and `keras_dep.training.MembranePerturbation`. The penalty needs
    `loss="mean_logit"` of the settings.

    `rho=0` with `kappa=1` is plain training. Published weight decay is 5e-4 over 100 epochs; the
    network trains on the clean and the adversarial images of every batch.

    Args:
        rho: weight of the penalty, not negative.
        kappa: share of the clean loss, in [0, 1].
        epsilon: radius of the adversarial images, in pixel units.

    Raises:
        ValueError: an option outside its limits.

    Source: Ding et al., ICML 2024, and its released code.

    Example:

    >>> dlif(rho=0.0, kappa=1.0).neuron is None
    True
    """
    term = MembranePerturbation(rho, kappa, FGSM(epsilon=epsilon))
    return Defence(neuron=DLIF, loss_terms=(term,)) if term.active else Defence()
