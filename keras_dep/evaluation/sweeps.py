"""Accuracy along the radius of the ball and along the number of steps."""

from keras_dep import attacks
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import suites

# Of the paper's Figures 3 and 4, and as wide a reach of lengths.
EPSILONS = {
    "Linf": tuple(level / 255 for level in (0, 2, 4, 6, 8, 16, 32, 64, 128)),
    "L2": (0.0, 0.125, 0.25, 0.375, 0.5, 1.0, 2.0, 4.0, 8.0),
}
STEPS = (7, 10, 15, 20, 30, 40, 50, 60, 70, 80)


def epsilon_sweep(
    model,
    images,
    labels,
    *,
    norm="Linf",
    epsilons=None,
    steps=7,
    substitutes=(),
    seed=0,
    batch_size=128,
    **derivative,
):
    """FGSM and PGD at growing radii, white box and, with substitutes, black box.

    PGD takes the paper's steps of 0.01, in proportion for `"L2"`, or of `2.5 epsilon / steps` where
    those would not cross the ball. Radius 0 goes through the attacks' code too.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        norm: `"Linf"` or `"L2"`.
        epsilons: radii in pixel units; default: those of `EPSILONS`.
        steps: steps of PGD.
        substitutes: models to transfer from.
        seed: seed of the starts.
        batch_size: images at a time.
        **derivative: `estimator`, `surrogate`, `width` in the white box, as in
            `keras_dep.attacks.gradient_attack.GradientAttack`.

    Returns:
        List of rows, dictionaries of `attack`, `norm`, `epsilon`, and what
        `keras_dep.evaluation.robust_accuracy` gives.

    Raises:
        ValueError: data or arguments that `robust_accuracy` or an attack refuses.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> [row["attack"] for row in epsilon_sweep(model, x, y, epsilons=(0, 0.1))]
    ['fgsm', 'pgd', 'fgsm', 'pgd']
    """

    def at(epsilon):
        usual = suites.step_size(norm, epsilon)
        ball = {"norm": norm, "epsilon": epsilon}
        search = {
            "step_size": usual if usual * steps >= 2 * epsilon else 2.5 * epsilon / steps,
            "steps": steps,
            "seed": seed,
        }

        def pair(**looking):
            return {
                "fgsm": attacks.FGSM(**ball, **looking),
                "pgd": attacks.PGD(**ball, **search, **looking),
            }

        return {**pair(**derivative), **_transferred(pair(), substitutes)}

    epsilons = EPSILONS[norm] if epsilons is None else epsilons
    points = [("epsilon", epsilon, at(epsilon)) for epsilon in epsilons]
    return _rows(model, images, labels, norm, points, batch_size)


def step_sweep(
    model,
    images,
    labels,
    *,
    norm="Linf",
    steps=STEPS,
    epsilon=None,
    step_size=None,
    substitutes=(),
    seed=0,
    batch_size=128,
    **derivative,
):
    """PGD with a growing number of steps of one length; arguments as in `epsilon_sweep`.

    Returns:
        Rows as in `epsilon_sweep`, with `steps` in the place of `epsilon`.
    """

    epsilon = suites.radius(norm, epsilon)
    size = suites.step_size(norm, epsilon) if step_size is None else step_size

    def at(number):
        search = {"norm": norm, "epsilon": epsilon, "step_size": size, "steps": number}
        white = {"pgd": attacks.PGD(**search, seed=seed, **derivative)}
        plain = {"pgd": attacks.PGD(**search, seed=seed)}
        return {**white, **_transferred(plain, substitutes)}

    points = [("steps", number, at(number)) for number in steps]
    return _rows(model, images, labels, norm, points, batch_size)


def _transferred(chosen, substitutes):
    """The attacks on substitutes, whose spikes, if any, are derived as they were trained."""
    if not substitutes:
        return {}
    return {
        f"{name}, transferred": attacks.Transfer(attack, substitutes)
        for name, attack in chosen.items()
    }


def _rows(model, images, labels, norm, points, batch_size):
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    return [
        {
            "attack": name,
            "norm": norm,
            axis: value,
            **accuracy.robust_accuracy(model, attack, images, labels, batch_size),
        }
        for axis, value, chosen in points
        for name, attack in chosen.items()
    ]
