"""Regularised adversarial training of spiking networks (SNN-RAT)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import OrthogonalRetraction


@register
def snn_rat(beta: float = 5e-4) -> Defence:
    """Moves kernels towards orthonormal outputs after every update, without weight decay.

    The regularisation of SNN-RAT, see `keras_dep.optimizers.OrthogonalRetraction`; its adversarial
    training is `base="adversarial"` of the settings, with `attack="fgsm"` or `"pgd"` of 2 steps of
    1/255, both at 2/255. The mixture of radii that its abstract names is in no released code.

    Args:
        beta: length of the step, in [0, 1].

    Raises:
        ValueError: `beta` outside its limits.

    Source: Ding et al., NeurIPS 2022.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> snn_rat(beta=1e-3).wrapped("sgd", TrainingPlan()).beta
    0.001
    """
    OrthogonalRetraction("sgd", beta)
    return Defence(
        optimizer=lambda inner, plan: OrthogonalRetraction(inner, beta),
        settings={"weight_decay": 0.0},
    )
