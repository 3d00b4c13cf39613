"""Attacks and suites of attacks by name."""

from collections.abc import Sequence

import keras

from keras_dep import attacks
from keras_dep import surrogates
from keras_dep._internal import validation
from keras_dep._internal.types import Record
from keras_dep.attacks.base import Attack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.threat import USUAL_RADII
from keras_dep.attacks.threat import Threat
from keras_dep.evaluation import coverage
from keras_dep.layers.overrides import spiking_layers

SUITES = ("quick", "paper", "reliable")
# Without a ball: of networks of frames alone.
TIMING = "timing"
# Time steps by which each event may move.
JITTERS = (1, 2, 3)
ESTIMATORS = ("hart", "rga", "bptr", "pdsg", "conversion")
# A grid around the published degree.
VANISHING = (0.82, 0.85, 0.88)


def build(
    suite: str,
    *,
    norm: str = "Linf",
    epsilon: float | None = None,
    seed: int | Sequence[int] = 0,
    classes: int = 10,
    spiking: bool = True,
    estimators: bool = True,
    samples: int = 1,
    substitutes: Sequence[keras.Model] = (),
    estimator: str | Estimator | None = None,
    surrogate: str | None = None,
    width: float | None = None,
) -> dict[str, Attack]:
    """Builds the attacks of a suite, in the order in which they run.

    The reliable suite begins with the cheap attacks and those that break most images, so that an
    evaluation with `early_exit` shows few images to the others.

    - `quick`: FGSM, APGD of 20 steps and 20 random corners.
    - `paper`: FGSM and PGD of 7 steps of 0.01 at 8/255, as the paper reports.
    - `reliable`: Gaussian noise, both of these, APGD of 100 steps on the cross-entropy, the logit
      ratio and the loss of every step, SA-PGD of 100 steps through ASSG at three degrees, APGD-T of
      100 steps towards each of 9 classes, PGD of 50 steps with 5 starts, SA-PGD of 100 steps
      through the network's own surrogate, APGD of 100 steps through each surrogate and by each of
      HART, RGA, BPTR, PDSG and conversion, images transferred from the substitutes, 1000 random
      corners, and 5000 queries of Square.
    - `timing`: spike retiming by up to 1, 2 and 3 time steps per event, see
      `keras_dep.attacks.SpikeRetiming`; for networks of frames alone, without a ball.

    In the L2 ball APGD takes the place of SA-PGD, which is defined for the L-infinity ball only,
    and random points of the surface that of corners; there is no noise.

    Args:
        suite: one of `SUITES`, or `"timing"`.
        norm: ball of every attack, `"Linf"` or `"L2"`.
        epsilon: its radius, see `keras_dep.attacks.threat.Threat`; default: 8/255, for `"L2"` 0.5.
        seed: seed of every attack.
        classes: number of classes; the logit ratio needs three.
        spiking: whether the model has spikes, which other surrogates can derive.
        estimators: whether gradient estimators can derive them too.
        samples: gradients to average, for models that draw at random.
        substitutes: models to transfer from.
        estimator: gradient estimator that the white-box attacks of `quick` and `paper` look
            through, a name or an object as `keras_dep.attacks.RGA()`; the reliable suite tries all.
        surrogate: in its place a surrogate derivative, one of `keras_dep.surrogates.names()`.
        width: width of the surrogate; default: its usual one.

    Returns:
        Dictionary from name to attack.

    Raises:
        ValueError: an unknown suite, norm, radius, estimator or surrogate; or an estimator or
            surrogate for the reliable suite, or for a model without spikes.

    Example:

    >>> list(build("paper"))
    ['fgsm', 'pgd-7']
    >>> build("paper", norm="L2", estimator="bptr")["pgd-7"].threat.epsilon
    0.5
    """
    validation.one_of("suite", suite, (*SUITES, TIMING))
    chosen = derivative(estimator, surrogate, width)
    _check_derivative(suite, spiking, chosen)
    if suite == TIMING:
        settings = {"seed": seed, "samples": samples, **chosen}
        return {f"retiming-{n}": attacks.SpikeRetiming(amount=n, **settings) for n in JITTERS}
    ball: Record = {"norm": norm, "epsilon": radius(norm, epsilon)}
    shared = {**ball, "seed": seed, "samples": samples}
    if suite == "reliable":
        return _reliable(ball, shared, classes, spiking, spiking and estimators, substitutes)
    white = {**shared, **chosen}
    if suite == "paper":
        return _paper(white)
    return {
        "fgsm": attacks.FGSM(**white),
        "apgd-ce-20": attacks.APGD(steps=20, **white),
        f"{_edge(norm)}-20": attacks.RandomSearch(draws=20, seed=seed, **ball),
    }


def derivative(
    estimator: str | Estimator | None, surrogate: str | None, width: float | None
) -> Record:
    """Returns those of the three arguments that are set, by name."""
    given = {"estimator": estimator, "surrogate": surrogate, "width": width}
    return {name: value for name, value in given.items() if value is not None}


def left_out(suite: str, model: keras.Model) -> list[Record]:
    """Lists the attacks that the reliable suite cannot use on a model's layers, and why.

    Args:
        suite: name of the suite.
        model: the `keras.Model` that it is for.

    Returns:
        List of dictionaries of `attacks`, names of attacks that are not made or act through other
        layers only, and the `reason`; empty where there are none.

    Example:

    >>> left_out("paper", None)
    []
    """
    reason = coverage.blind_spot(model) if suite == "reliable" else None
    if reason is None:
        return []
    shared = {"norm": "Linf", "epsilon": 0.0}
    names = [*_through_estimators(shared), *_through_assg(shared)]
    if coverage.unknown_layers(model):
        names = [*_through_surrogates(shared), *names]
        if spiking_layers(model):
            reason += "; these reach the other layers alone"
    return [{"attacks": names, "reason": reason}]


def radius(norm: str, epsilon: float | None = None) -> float:
    """Returns the radius of a ball, by default the usual one.

    Args:
        norm: `"Linf"` or `"L2"`.
        epsilon: a radius in pixel units, or `None`.

    Raises:
        ValueError: an unknown norm, or a radius outside the norm's limits.

    Example:

    >>> radius("L2")
    0.5
    """
    epsilon = USUAL_RADII.get(norm, 0) if epsilon is None else epsilon
    return Threat(norm=norm, epsilon=epsilon).epsilon


def step_size(norm: str, epsilon: float) -> float:
    """Returns the paper's step size of PGD, 0.01, scaled for `"L2"` as `epsilon` to 8/255."""
    return 0.01 if norm == "Linf" else 0.01 * epsilon / USUAL_RADII["Linf"]


def _check_derivative(suite, spiking, chosen):
    received = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    if chosen and suite == "reliable":
        raise ValueError(
            f"suite 'reliable' tries every derivative of spikes; received {received}; choose quick "
            "or paper."
        )
    if chosen and not spiking:
        raise ValueError(f"a model without spikes has one derivative; received {received}.")


def _paper(white):
    step = step_size(white["norm"], white["epsilon"])
    return {"fgsm": attacks.FGSM(**white), "pgd-7": attacks.PGD(step_size=step, **white)}


def _through_surrogates(shared):
    names = surrogates.names()
    return {f"apgd-{name}-100": attacks.APGD(surrogate=name, **shared) for name in names}


def _through_assg(shared):
    flat = shared["norm"] == "Linf"
    name, search = ("sapgd", attacks.SAPGD) if flat else ("apgd", attacks.APGD)
    return {
        f"{name}-assg-{degree}-100": search(estimator=attacks.ASSG(vanishing=degree), **shared)
        for degree in VANISHING
    }


def _through_estimators(shared):
    return {f"apgd-{name}-100": attacks.APGD(estimator=name, **shared) for name in ESTIMATORS}


def _reliable(ball, shared, classes, spiking, estimators, substitutes):
    epsilon, seed, flat = ball["epsilon"], shared["seed"], ball["norm"] == "Linf"
    losses = ("ce", "dlr", "tet") if classes > 2 else ("ce", "tet")
    towards = {"apgdt-100": attacks.APGDT(**shared)} if classes > 3 else {}
    transfer = {}
    if substitutes:
        crafted = attacks.MIFGSM(**shared, step_size=epsilon / 5, steps=20)
        transfer["transfer"] = attacks.Transfer(crafted, substitutes)
    noise = {"gaussian": attacks.GaussianNoise(std=epsilon, seed=seed)} if flat else {}
    return {
        **noise,
        **_paper(shared),
        **{f"apgd-{loss}-100": attacks.APGD(loss=loss, **shared) for loss in losses},
        **(_through_assg(shared) if estimators else {}),
        **towards,
        "pgd-50": attacks.PGD(steps=50, restarts=5, step_size=epsilon / 5, **shared),
        **({"sapgd-100": attacks.SAPGD(**shared)} if flat else {}),
        **(_through_surrogates(shared) if spiking else {}),
        **(_through_estimators(shared) if estimators else {}),
        **transfer,
        f"{_edge(ball['norm'])}-1000": attacks.RandomSearch(seed=seed, **ball),
        "square-5000": attacks.Square(seed=seed, **ball),
    }


def _edge(norm):
    """Describes the set from which random points are drawn."""
    return {"Linf": "corners", "L2": "surface"}[norm]
