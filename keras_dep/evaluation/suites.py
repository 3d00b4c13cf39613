"""Attacks by name: what a suite consists of."""

from keras_dep import attacks
from keras_dep import surrogates

SUITES = ("quick", "paper", "reliable")
ESTIMATORS = ("hart", "rga", "bptr", "pdsg", "conversion")
# A grid around the published degree.
VANISHING = (0.82, 0.85, 0.88)


def build(suite, *, epsilon=8 / 255, seed=0, classes=10, spiking=True, samples=1, substitutes=()):
    """The attacks of a suite, in the order in which they run, weak ones first.

    - `quick`: FGSM, APGD of 20 steps and 20 random corners.
    - `paper`: FGSM and PGD of 7 steps of 0.01, what the paper reports.
    - `reliable`: both of these, Gaussian noise, PGD of 50 steps with 5 starts, APGD of 100 steps on
      the cross-entropy, the logit ratio and the loss of every step, APGD of 100 steps through each
      surrogate and by each of HART, RGA, BPTR, PDSG and conversion, SA-PGD of 100 steps through the
      network's own surrogate and through ASSG at three degrees, APGD-T of 100 steps towards each of
      9 classes, 5000 queries of Square, 1000 random corners, and images transferred from the
      substitutes.

    Args:
        suite: one of `SUITES`.
        epsilon: radius of the L-infinity ball in pixel units.
        seed: seed of every attack.
        classes: number of classes; the logit ratio needs three.
        spiking: whether the model has spikes to be derived by other rules.
        samples: gradients to average, for models that draw at random.
        substitutes: models to transfer from.

    Returns:
        Dictionary from name to attack.

    Raises:
        ValueError: unknown suite.

    Example:

    >>> list(build("paper"))
    ['fgsm', 'pgd-7']
    """
    if suite not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}; received {suite!r}.")
    common = {"epsilon": epsilon, "seed": seed, "samples": samples}
    if suite == "quick":
        return {
            "fgsm": attacks.FGSM(**common),
            "apgd-ce-20": attacks.APGD(steps=20, **common),
            "corners-20": attacks.RandomSearch(epsilon=epsilon, draws=20, seed=seed),
        }
    paper = {"fgsm": attacks.FGSM(**common), "pgd-7": attacks.PGD(**common)}
    if suite == "paper":
        return paper
    losses = ("ce", "dlr", "tet") if classes > 2 else ("ce", "tet")
    through = {}
    if spiking:
        for name in surrogates.names():
            through[f"apgd-{name}-100"] = attacks.APGD(surrogate=name, **common)
        for name in ESTIMATORS:
            through[f"apgd-{name}-100"] = attacks.APGD(estimator=name, **common)
        for degree in VANISHING:
            rule = attacks.ASSG(vanishing=degree)
            through[f"sapgd-assg-{degree}-100"] = attacks.SAPGD(estimator=rule, **common)
    towards = {"apgdt-100": attacks.APGDT(**common)} if classes > 3 else {}
    transfer = {}
    if substitutes:
        crafted = attacks.MIFGSM(**common, step_size=epsilon / 5, steps=20)
        transfer["transfer"] = attacks.Transfer(crafted, substitutes)
    return {
        "gaussian": attacks.GaussianNoise(std=epsilon, seed=seed),
        **paper,
        "pgd-50": attacks.PGD(steps=50, restarts=5, step_size=epsilon / 5, **common),
        **{f"apgd-{loss}-100": attacks.APGD(loss=loss, **common) for loss in losses},
        "sapgd-100": attacks.SAPGD(**common),
        **through,
        **towards,
        **transfer,
        "corners-1000": attacks.RandomSearch(epsilon=epsilon, seed=seed),
        "square-5000": attacks.Square(epsilon=epsilon, seed=seed),
    }
