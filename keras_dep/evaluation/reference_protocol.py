"""The protocol of the paper's released code, beside the attacks that the paper describes."""

import warnings

import keras
import numpy as np

from keras_dep import attacks
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.evaluation import accuracy
from keras_dep.losses import mean_logits
from keras_dep.models import inference

CAUTION = "Of the released protocol only the rows as described say something of robustness."
DESCRIBED, NOTHING = "as described", "as described, epsilon 0"
CLAMP, FRESH, RELEASED = "clamp alone", "released, membranes reset", "released"


def released_protocol(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float = 8 / 255,
    step_size: float = 0.01,
    steps: int = 7,
    seed: int = 0,
    batch_size: int = 128,
) -> list[Record]:
    """Measures FGSM and PGD by the paper's text, by its released code, and by three controls.

    The controls are radius 0 through the attacks' code, the clamp to [0, 1] of normalised images
    alone, and the released attack with membranes reset before every pass. All images are attacked
    and counted, as in the released code, also those that were wrong before. Only the results as
    described measure robustness. See `keras_dep.attacks.ReferenceCodeAttack`.

    Args:
        model: a `keras.Model` that normalises its pixels and repeats its image at every step.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        epsilon: radius, of pixels as described, of normalised images as released.
        step_size: length of a step of PGD, likewise.
        steps: steps of PGD.
        seed: seed of its starts.
        batch_size: images at a time.

    Returns:
        List of results, dictionaries of `protocol`, `attack`, `accuracy`, `interval`, `correct`,
        `images`, `non_finite_answers` (images with a non-finite answer, which are errors), and the
        `mean_change` and the `largest_change` of a pixel.

    Raises:
        ValueError: data that do not fit the model, or a model that does not normalise its pixels.

    Example:

    >>> normalization = keras.layers.Normalization(mean=0.5, variance=1.0)
    >>> model = keras.Sequential([keras.Input((4,)), normalization, keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     len(released_protocol(model, x, y, steps=1))
    8
    """
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    ball: Record = {"epsilon": epsilon, "seed": seed}
    described = {
        "fgsm": attacks.FGSM(**ball),
        f"pgd-{steps}": attacks.PGD(step_size=step_size, steps=steps, **ball),
    }
    nothing = attacks.PGD(epsilon=0.0, step_size=step_size, steps=steps, seed=seed)
    warnings.warn(CAUTION, stacklevel=2)
    with warnings.catch_warnings():
        # Each attack would repeat it.
        warnings.simplefilter("ignore")
        chosen = [
            *[(DESCRIBED, name, attack) for name, attack in described.items()],
            (NOTHING, f"pgd-{steps}", nothing),
            (CLAMP, "none", attacks.ReferenceCodeAttack(attacks.FGSM(epsilon=0.0))),
            *[
                (kind, name, attacks.ReferenceCodeAttack(attack, stale_state=kind == RELEASED))
                for kind in (FRESH, RELEASED)
                for name, attack in described.items()
            ],
        ]
    return [
        {"protocol": kind, "attack": name, **_measured(model, attack, images, labels, batch_size)}
        for kind, name, attack in chosen
    ]


def _measured(model, attack, images, labels, batch_size):
    correct, non_finite, changes = 0, 0, []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        x, y = images[part], labels[part]
        crafted = attack(model, x, y)
        if isinstance(attack, attacks.ReferenceCodeAttack) and attack.stale_state:
            scores = keras.ops.convert_to_numpy(mean_logits(attack.answers(model, x, y)))
            right, finite = inference.judged(scores, y)
        else:
            right, finite = accuracy.judged(model, crafted, y, batch_size)
        correct += int(right.sum())
        non_finite += int((~finite).sum())
        changes.append(np.abs(crafted - x).reshape(-1))
    changes = np.concatenate(changes)
    return {
        **accuracy.proportion(correct, len(images)),
        "non_finite_answers": non_finite,
        "mean_change": float(changes.mean()),
        "largest_change": float(changes.max()),
    }
