"""Accuracy along the radius of the ball and along the number of steps."""

from collections.abc import Sequence

import keras

from keras_dep import attacks
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import suites

# Those of the paper's Figures 3 and 4; for L2, radii of a similar range.
EPSILONS = {
    "Linf": tuple(level / 255 for level in (0, 2, 4, 6, 8, 16, 32, 64, 128)),
    "L2": (0.0, 0.125, 0.25, 0.375, 0.5, 1.0, 2.0, 4.0, 8.0),
}
STEPS = (7, 10, 15, 20, 30, 40, 50, 60, 70, 80)


def epsilon_sweep(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    norm: str = "Linf",
    epsilons: Sequence[float] | None = None,
    steps: int = 7,
    estimator: str | Estimator | None = None,
    surrogate: str | None = None,
    width: float | None = None,
    substitutes: Sequence[keras.Model] = (),
    seed: int = 0,
    batch_size: int = 128,
) -> list[Record]:
    """Measures FGSM and PGD at growing radii, white box and, with substitutes, black box.

    PGD takes the paper's steps of 0.01, scaled for `"L2"`, or steps of `2.5 epsilon / steps` where
    the former would not cross the ball. Radius 0 goes through the attacks' code too.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        norm: `"Linf"` or `"L2"`.
        epsilons: radii in pixel units; default: those of `EPSILONS`.
        steps: steps of PGD.
        estimator: gradient estimator that the white-box attacks look through, see
            `keras_dep.attacks.PGD`; default: the model's own derivatives.
        surrogate: in its place a surrogate derivative, one of `keras_dep.surrogates.names()`.
        width: width of the surrogate; default: its usual one.
        substitutes: models to transfer from.
        seed: seed of the starts.
        batch_size: images at a time.

    Returns:
        List of points, dictionaries of `attack`, `norm`, `epsilon` and the keys that
        `keras_dep.evaluation.robust_accuracy` returns.

    Raises:
        ValueError: data or arguments that `robust_accuracy` or an attack refuses.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> [point["attack"] for point in epsilon_sweep(model, x, y, epsilons=(0, 0.1))]
    ['fgsm', 'pgd', 'fgsm', 'pgd']
    """
    looking = suites.derivative(estimator, surrogate, width)

    def at(epsilon):
        usual = suites.step_size(norm, epsilon)
        ball = {"norm": norm, "epsilon": epsilon}
        search = {
            "step_size": usual if usual * steps >= 2 * epsilon else 2.5 * epsilon / steps,
            "steps": steps,
            "seed": seed,
        }

        def pair(chosen):
            return {
                "fgsm": attacks.FGSM(**ball, **chosen),
                "pgd": attacks.PGD(**ball, **search, **chosen),
            }

        return {**pair(looking), **_transferred(pair({}), substitutes)}

    epsilons = EPSILONS[norm] if epsilons is None else epsilons
    chosen = [("epsilon", epsilon, at(epsilon)) for epsilon in epsilons]
    return _points(model, images, labels, norm, chosen, batch_size)


def step_sweep(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    norm: str = "Linf",
    steps: Sequence[int] = STEPS,
    epsilon: float | None = None,
    step_size: float | None = None,
    estimator: str | Estimator | None = None,
    surrogate: str | None = None,
    width: float | None = None,
    substitutes: Sequence[keras.Model] = (),
    seed: int = 0,
    batch_size: int = 128,
) -> list[Record]:
    """Measures PGD with a growing number of steps of one length.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: array `(n, ...)` in [0, 1].
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        norm: `"Linf"` or `"L2"`.
        steps: numbers of steps.
        epsilon: radius in pixel units; default: 8/255, for `"L2"` 0.5.
        step_size: length of a step; default: the paper's 0.01, scaled for `"L2"`.
        estimator: gradient estimator that the white-box attack looks through, see
            `keras_dep.attacks.PGD`; default: the model's own derivatives.
        surrogate: in its place a surrogate derivative, one of `keras_dep.surrogates.names()`.
        width: width of the surrogate; default: its usual one.
        substitutes: models to transfer from.
        seed: seed of the starts.
        batch_size: images at a time.

    Returns:
        Points as of `epsilon_sweep`, with `steps` in the place of `epsilon`.

    Raises:
        ValueError: data or arguments that `robust_accuracy` or an attack refuses.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> [point["steps"] for point in step_sweep(model, x, y, steps=(1, 2))]
    [1, 2]
    """
    epsilon = suites.radius(norm, epsilon)
    size = suites.step_size(norm, epsilon) if step_size is None else step_size

    looking = suites.derivative(estimator, surrogate, width)

    def at(number):
        search = {"epsilon": epsilon, "step_size": size, "steps": number}
        white = {"pgd": attacks.PGD(norm=norm, **search, seed=seed, **looking)}
        plain = {"pgd": attacks.PGD(norm=norm, **search, seed=seed)}
        return {**white, **_transferred(plain, substitutes)}

    chosen = [("steps", number, at(number)) for number in steps]
    return _points(model, images, labels, norm, chosen, batch_size)


def _transferred(chosen, substitutes):
    """Returns the attacks on substitutes, through the derivatives they were trained with."""
    if not substitutes:
        return {}
    return {
        f"{name}, transferred": attacks.Transfer(attack, substitutes)
        for name, attack in chosen.items()
    }


def _points(model, images, labels, norm, chosen, batch_size):
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    return [
        {
            "attack": name,
            "norm": norm,
            axis: value,
            **accuracy.robust_accuracy(model, attack, images, labels, batch_size),
        }
        for axis, value, made in chosen
        for name, attack in made.items()
    ]
