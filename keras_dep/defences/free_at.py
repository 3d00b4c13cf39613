"""Free adversarial training."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.training import FreeAdversarial


@register
def free_at(replays: int = 4, epsilon: float = 2 / 255, step: float | None = None) -> Defence:
    """Trains on each batch several times, perturbed by the gradient of the update before.

    See `keras_dep.training.FreeAdversarial`; the perturbation is carried over from batch to batch.
    An epoch costs `replays` plain ones: divide `epochs` by it for an equal cost.

    Args:
        replays: updates per batch; 1 is plain training.
        epsilon: radius of the perturbation, in pixel units, not negative.
        step: its step after each update, positive; default: `epsilon`.

    Raises:
        ValueError: an option outside its limits.

    Source: Shafahi et al., NeurIPS 2019.

    Example:

    >>> free_at(replays=1).replay is None
    True
    """
    replay = FreeAdversarial(replays, epsilon, step)
    return Defence(replay=replay) if replay.active else Defence()
