"""A penalty on potentials inside the support of the surrogate (MPD-SGR)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.penalty_schedule import PenaltySchedule
from keras_dep.defences.registry import register
from keras_dep.layers import SupportPenaltyLIF


@register
def mpd_sgr(strength: float = 0.5) -> Defence:
    """Penalises the share of potentials inside the support of the surrogate.

    See `keras_dep.layers.SupportPenaltyLIF`. The penalty is the mean over layers, channels and
    steps, times `strength`, which the source does not publish.

    Args:
        strength: weight of the penalty, not negative.

    Raises:
        ValueError: a negative `strength`.

    Source: "MPD-SGR", AAAI 2026 (arXiv 2511.12199); there is no released code.

    Example:

    >>> mpd_sgr(strength=0.0).neuron is None
    True
    """
    SupportPenaltyLIF(1, strength=strength)
    if not strength:
        return Defence()
    return Defence(
        neuron=SupportPenaltyLIF,
        callbacks=lambda network, plan: [
            PenaltySchedule(network, lambda epoch: strength, mean=True)
        ],
    )
