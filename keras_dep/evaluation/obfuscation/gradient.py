"""What the gradient itself looks like, and where it leads."""

import numpy as np

from keras_dep import attacks
from keras_dep.attacks.gradient_attack import image_draws
from keras_dep.attacks.gradient_attack import random_states_kept
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import metadata
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import inapplicable
from keras_dep.evaluation.obfuscation.check_result import outdone
from keras_dep.evaluation.obfuscation.check_result import row
from keras_dep.evaluation.obfuscation.health import float32_copy
from keras_dep.evaluation.obfuscation.health import gradient_health
from keras_dep.models import inference

DIRECTIONS = 32
PLACES = (0.25, 0.5, 0.75, 1.0)


def health(bench):
    found = gradient_health(bench.model, bench.images, bench.labels, batch_size=bench.batch_size)
    cosines = _cosines(bench)
    unanswered = int(bench.non_finite(attacks.FGSM(**bench.common)).sum())
    return row(
        "gradients vanish or mislead",
        "< 1 % of the images without a gradient, < 50 % zero entries, none not finite, no answer "
        "not finite, also under FGSM, and for < 25 % of the images no agreement with differences "
        "of the loss over epsilon",
        {**found, "non_finite_answers": unanswered, "mean_cosine": float(cosines.mean())},
        [
            beyond("no gradient", round(found["zero_images"] * len(cosines)), len(cosines), 0.01),
            # No comparison with NaN holds.
            beyond("no agreement", (~(cosines > 0)).sum(), len(cosines), 0.25),
        ],
        facts=[found["zero_pixels"] < 0.5, not found["non_finite_images"], not unanswered],
    )


def landscape(bench):
    """Mean loss along the sign of the gradient and along a random direction of the same length."""
    directions = {"gradient": np.sign(_slopes(bench)), "random": next(_corners(bench, 1))}
    clean = _losses(bench, bench.images)
    along = {}
    for name, direction in directions.items():
        for place in PLACES:
            moved = (bench.images + place * bench.epsilon * direction).clip(0, 1)
            along[name, place] = _losses(bench, moved)
    found, chance = along["gradient", PLACES[-1]], along["random", PLACES[-1]]
    lower = ~(found > np.maximum(clean, chance))
    return row(
        "the loss does not rise along the gradient",
        "for < 25 % of the images no higher at epsilon along its sign than at the image and along "
        "a random direction",
        {
            "clean": float(clean.mean()),
            **{f"{name}_{place:g}": float(each.mean()) for (name, place), each in along.items()},
        },
        [beyond("no higher", lower.sum(), len(lower), 0.25)],
    )


def rounding(bench):
    """What a copy of the model in float32 shows of a gradient that half precision rounds away."""
    sign = "rounding to half precision hides the gradient"
    criterion = (
        "what is made on a float32 copy breaks < 1 % that the gradient attacks leave standing"
    )
    if not metadata.is_half(bench.model):
        return inapplicable(sign, criterion, precision="single")
    copy = float32_copy(bench.model)
    if copy is None:
        return inapplicable(sign, criterion, left_out="Keras cannot copy the model layer by layer")
    white = bench.white()
    crafted = bench.left(attacks.Transfer(bench.search(restarts=bench.restarts), copy), bench.right)
    return row(
        sign,
        criterion,
        {"white_box": float(white.mean()), "float32_copy": float(crafted.mean())},
        [beyond("copy alone", (white & ~crafted).sum(), len(white), 0.01)],
    )


def label_leak(bench):
    found = _right_everywhere(bench)
    return row(
        "images under FGSM are easier than clean ones",
        "FGSM's accuracy no higher than the clean one, wrong images included",
        {"clean": float(bench.right.mean()), "fgsm": float(found.mean())},
        [outdone("mended against broken", bench.right, found)],
    )


def _right_everywhere(bench):
    """Right under FGSM, the images included that were wrong as they are."""
    attack = attacks.FGSM(**bench.common)
    batches = accuracy.under_attack(
        bench.model, attack, bench.images, bench.labels, bench.batch_size
    )
    return np.concatenate([still for still, _, _ in batches])


def _cosines(bench):
    """Per image, of the gradient and of differences over epsilon, along random directions."""
    slopes = _slopes(bench)
    seen, expected = [], []
    for corner in _corners(bench, DIRECTIONS):
        step = bench.epsilon * corner
        difference = _losses(bench, bench.images + step) - _losses(bench, bench.images - step)
        seen.append(difference)
        expected.append((slopes * corner).reshape(len(slopes), -1).sum(axis=1))
    seen, expected = np.array(seen), np.array(expected)
    lengths = np.linalg.norm(seen, axis=0) * np.linalg.norm(expected, axis=0)
    # Where either is zero they agree on nothing.
    return (seen * expected).sum(axis=0) / np.maximum(lengths, np.finfo("float32").tiny)


def _slopes(bench):
    """Gradient of the cross-entropy at the images, entries that are not finite as zero."""
    parts = [slice(i, i + bench.batch_size) for i in range(0, len(bench.images), bench.batch_size)]
    attack = attacks.FGSM()
    found = [attack.gradient(bench.model, bench.images[p], bench.labels[p]) for p in parts]
    return np.nan_to_num(np.concatenate(found), posinf=0.0, neginf=0.0)


def _corners(bench, count):
    """Random directions of signs for all images, an image's own in any company."""
    draws = image_draws(bench.images, [bench.seed, DIRECTIONS])
    shape = bench.images.shape[1:]
    for _ in range(count):
        yield np.stack([draw.choice([-1.0, 1.0], shape) for draw in draws]).astype("float32")


def _losses(bench, images):
    """Cross-entropy of each image."""
    with random_states_kept(bench.model):
        scores = inference.logits(bench.model, images, bench.batch_size)
    return inference.cross_entropies(scores, bench.labels)
