"""Checks of the gradient itself: zeros, agreement with differences, and direction."""

import numpy as np

from keras_dep import attacks
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import metadata
from keras_dep.evaluation.obfuscation.check_result import CheckResult
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import inapplicable
from keras_dep.evaluation.obfuscation.check_result import outdone
from keras_dep.evaluation.obfuscation.context import EvaluationContext
from keras_dep.evaluation.obfuscation.health import float32_copy
from keras_dep.evaluation.obfuscation.health import gradient_health
from keras_dep.models import inference

DIRECTIONS = 32
PLACES = (0.25, 0.5, 0.75, 1.0)


def health(context: EvaluationContext) -> CheckResult:
    """Looks for zeros in the gradient, and compares it with differences of the loss."""
    found = gradient_health(
        context.model, context.images, context.labels, batch_size=context.batch_size
    )
    cosines = _cosines(context)
    unanswered = int(context.non_finite(attacks.FGSM(**context.common)).sum())
    return CheckResult(
        "gradients vanish or mislead",
        "< 1 % of the images without a gradient, < 50 % zero entries, none not finite, no answer "
        "not finite, also under FGSM, and for < 25 % of the images no agreement with differences "
        "of the loss over epsilon",
        {**found, "non_finite_answers": unanswered, "mean_cosine": float(cosines.mean())},
        [
            beyond("no gradient", round(found["zero_images"] * len(cosines)), len(cosines), 0.01),
            # Also true of NaN.
            beyond("no agreement", (~(cosines > 0)).sum(), len(cosines), 0.25),
        ],
        facts=found["zero_pixels"] < 0.5 and not found["non_finite_images"] and not unanswered,
    )


def landscape(context: EvaluationContext) -> CheckResult:
    """Compares the loss along the gradient's sign and along a random direction of that length."""
    directions = {"gradient": np.sign(_slopes(context)), "random": next(_corners(context, 1))}
    clean = _losses(context, context.images)
    along = {}
    for name, direction in directions.items():
        for place in PLACES:
            moved = (context.images + place * context.epsilon * direction).clip(0, 1)
            along[name, place] = _losses(context, moved)
    found, chance = along["gradient", PLACES[-1]], along["random", PLACES[-1]]
    lower = ~(found > np.maximum(clean, chance))
    return CheckResult(
        "the loss does not rise along the gradient",
        "for < 25 % of the images no higher at epsilon along its sign than at the image and along "
        "a random direction",
        {
            "clean": float(clean.mean()),
            **{f"{name}_{place:g}": float(each.mean()) for (name, place), each in along.items()},
        },
        [beyond("no higher", lower.sum(), len(lower), 0.25)],
    )


def rounding(context: EvaluationContext) -> CheckResult:
    """Transfers images from a float32 copy, whose gradient half precision does not round away."""
    name = "rounding to half precision hides the gradient"
    criterion = (
        "images made on a float32 copy break < 1 % of those that withstand the gradient attacks"
    )
    if not metadata.is_half(context.model):
        return inapplicable(name, criterion, precision="single")
    copy = float32_copy(context.model)
    if copy is None:
        return inapplicable(name, criterion, left_out="Keras cannot copy the model layer by layer")
    white = context.white()
    attack = attacks.Transfer(context.search(restarts=context.restarts), copy)
    crafted = context.left(attack, context.right)
    return CheckResult(
        name,
        criterion,
        {"white_box": float(white.mean()), "float32_copy": float(crafted.mean())},
        [beyond("copy alone", (white & ~crafted).sum(), len(white), 0.01)],
    )


def label_leak(context: EvaluationContext) -> CheckResult:
    """Compares accuracy under FGSM, wrong images included, with the clean one."""
    found = _right_under_fgsm(context)
    return CheckResult(
        "images under FGSM are easier than clean ones",
        "FGSM's accuracy no higher than the clean one, wrong images included",
        {"clean": float(context.right.mean()), "fgsm": float(found.mean())},
        [outdone("mended against broken", context.right, found)],
    )


def _right_under_fgsm(context):
    """Tells which images are right under FGSM, including those that are wrong when clean."""
    attack = attacks.FGSM(**context.common)
    batches = accuracy.under_attack(
        context.model, attack, context.images, context.labels, context.batch_size
    )
    return np.concatenate([still for still, _, _ in batches])


def _cosines(context):
    """Returns each image's cosine of the gradient and differences, over random directions."""
    slopes = _slopes(context)
    differences, products = [], []
    for corner in _corners(context, DIRECTIONS):
        step = context.epsilon * corner
        ahead, behind = (_losses(context, context.images + side * step) for side in (1, -1))
        differences.append(ahead - behind)
        products.append((slopes * corner).reshape(len(slopes), -1).sum(axis=1))
    seen, expected = np.array(differences), np.array(products)
    lengths = np.linalg.norm(seen, axis=0) * np.linalg.norm(expected, axis=0)
    # 0 where either is zero.
    return (seen * expected).sum(axis=0) / np.maximum(lengths, np.finfo("float32").tiny)


def _slopes(context):
    """Returns the gradient of the cross-entropy, with 0 for non-finite entries."""
    attack, size = attacks.FGSM(), context.batch_size
    parts = [slice(start, start + size) for start in range(0, len(context.images), size)]
    found = [attack.gradient(context.model, context.images[p], context.labels[p]) for p in parts]
    return np.nan_to_num(np.concatenate(found), posinf=0.0, neginf=0.0)


def _corners(context, count):
    """Yields directions of random signs; an image draws the same in every batch."""
    draws = image_draws(context.images, [context.seed, DIRECTIONS])
    shape = context.images.shape[1:]
    for _ in range(count):
        yield np.stack([draw.choice([-1.0, 1.0], shape) for draw in draws]).astype("float32")


def _losses(context, images):
    """Returns the cross-entropy of each image."""
    with random_states_kept(context.model):
        scores = inference.logits(context.model, images, context.batch_size)
    return inference.cross_entropies(scores, context.labels)
