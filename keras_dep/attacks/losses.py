"""What an attack maximises: a loss per sample, of integer labels and a model's answers."""

import math

import keras
from keras import ops

from keras_dep import losses
from keras_dep.losses import mean_logits

HALF = ("float16", "bfloat16")


def cross_entropy(labels, outputs):
    """Cross-entropy of the mean logits."""
    return losses.cross_entropy(labels, mean_logits(outputs))


def first_step(labels, outputs):
    """Cross-entropy of the logits of the first time step, which is all that some attacks see."""
    first = outputs[:, 0] if len(outputs.shape) == 3 else outputs
    return losses.cross_entropy(labels, mean_logits(first))


def every_step(labels, outputs):
    """Mean over time of each step's cross-entropy."""
    if len(outputs.shape) == 2:
        return cross_entropy(labels, outputs)
    steps = [losses.cross_entropy(labels, step) for step in ops.unstack(outputs, axis=1)]
    return ops.mean(ops.stack(steps), axis=0)


def margin(labels, outputs):
    """Largest wrong mean logit minus the right one: positive where the network is fooled."""
    logits = mean_logits(outputs)
    right = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    wrong = ops.max(ops.where(right > 0, -float("inf"), logits), axis=-1)
    return wrong - ops.sum(right * logits, axis=-1)


def logit_ratio(labels, outputs):
    """Difference of logits ratio, of the mean logits `z` of three classes or more.

    `(max of the wrong z - z_y) / (largest z - third largest z)`: unlike the cross-entropy it does
    not vanish where the network is sure of itself.
    """
    largest = ops.top_k(mean_logits(outputs), 3)[0]
    return margin(labels, outputs) / (largest[:, 0] - largest[:, 2] + 1e-12)


def targeted_logit_ratio(labels, outputs):
    """Difference of logits ratio towards a class, of mean logits `z` of four classes or more.

    `(z_t - z_y) / (largest z - mean of the third and the fourth largest)` for labels `(n, 2)`, the
    true classes `y` and the wanted ones `t`.
    """
    logits = mean_logits(single(outputs))
    right, wanted = (
        ops.sum(logits * ops.one_hot(labels[:, column], logits.shape[-1], dtype=logits.dtype), -1)
        for column in (0, 1)
    )
    largest = ops.top_k(logits, 4)[0]
    spread = largest[:, 0] - 0.5 * (largest[:, 2] + largest[:, 3])
    return (wanted - right) / (spread + 1e-12)


LOSSES = {
    "ce": cross_entropy,
    "first_step": first_step,
    "tet": every_step,
    "margin": margin,
    "dlr": logit_ratio,
}


def aimed(name, targeted, labels, outputs):
    """The loss of a name per sample, negative where the labels are a class to be reached.

    Labels may also be a column or one-hot rows, as in training.
    """
    losses.check_logits(outputs.shape)
    outputs = single(outputs)
    if len(labels.shape) > 1:
        labels = losses.class_indices(labels, outputs.shape[-1])
    value = LOSSES[name](labels, outputs)
    return -value if targeted else value


def single(outputs):
    """Answers in half precision as float32: a loss is no part of the network that rounds."""
    return (
        ops.cast(outputs, "float32")
        if keras.backend.standardize_dtype(outputs.dtype) in HALF
        else outputs
    )


def success(targeted, labels, outputs):
    """By how much answers are what the attacker wants: the margin, fooled where positive.

    An answer that is not finite is wrong: it fools, and reaches no class.
    """
    value = aimed("margin", targeted, labels, outputs)
    finite = losses.predicted_classes(outputs) >= 0
    return ops.where(finite, value, -math.inf if targeted else math.inf)


def check(loss):
    """Returns `loss` when it is a name in `LOSSES`, raises `ValueError` otherwise."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; received {loss!r}.")
    return loss
