"""Accuracy along the radius of the ball and along the number of steps."""

from keras_dep import attacks
from keras_dep.evaluation import measure

# Of the paper's Figures 3 and 4.
EPSILONS = tuple(level / 255 for level in (0, 2, 4, 6, 8, 16, 32, 64, 128))
STEPS = (7, 10, 15, 20, 30, 40, 50, 60, 70, 80)


def epsilon_sweep(
    model, images, labels, *, epsilons=EPSILONS, steps=7, substitutes=(), seed=0, batch_size=128
):
    """FGSM and PGD at growing radii, white box and, with substitutes, black box.

    PGD takes the paper's steps of 0.01, or of `2.5 epsilon / steps` where those would not cross the
    ball. Radius 0 goes through the attacks' code too.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: float32 array `(n, ...)`.
        labels: integer array `(n,)`.
        epsilons: radii in pixel units.
        steps: steps of PGD.
        substitutes: models to transfer from.
        seed: seed of the starts.
        batch_size: images at a time.

    Returns:
        List of rows, dictionaries of `attack`, `epsilon`, `accuracy`, `interval`, `correct` and
        `images`.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> [row["attack"] for row in epsilon_sweep(model, x, y, epsilons=(0, 0.1))]
    ['fgsm', 'pgd', 'fgsm', 'pgd']
    """

    def at(epsilon):
        step_size = 0.01 if 0.01 * steps >= 2 * epsilon else 2.5 * epsilon / steps
        chosen = {
            "fgsm": attacks.FGSM(epsilon=epsilon),
            "pgd": attacks.PGD(epsilon=epsilon, step_size=step_size, steps=steps, seed=seed),
        }
        if substitutes:
            moved = {
                f"{name}, transferred": attacks.Transfer(attack, substitutes)
                for name, attack in chosen.items()
            }
            chosen.update(moved)
        return chosen

    points = [("epsilon", epsilon, at(epsilon)) for epsilon in epsilons]
    return _rows(model, images, labels, points, batch_size)


def step_sweep(
    model,
    images,
    labels,
    *,
    steps=STEPS,
    epsilon=8 / 255,
    step_size=0.01,
    substitutes=(),
    seed=0,
    batch_size=128,
):
    """PGD with a growing number of steps of one length; arguments as in `epsilon_sweep`.

    Returns:
        Rows as in `epsilon_sweep`, with `steps` in the place of `epsilon`.
    """

    def at(number):
        attack = attacks.PGD(epsilon=epsilon, step_size=step_size, steps=number, seed=seed)
        chosen = {"pgd": attack}
        if substitutes:
            chosen["pgd, transferred"] = attacks.Transfer(attack, substitutes)
        return chosen

    points = [("steps", number, at(number)) for number in steps]
    return _rows(model, images, labels, points, batch_size)


def _rows(model, images, labels, points, batch_size):
    images, labels = measure.check_data(images, labels)
    return [
        {
            "attack": name,
            axis: value,
            **measure.robust_accuracy(model, attack, images, labels, batch_size),
        }
        for axis, value, chosen in points
        for name, attack in chosen.items()
    ]
