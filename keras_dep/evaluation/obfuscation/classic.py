"""The five symptoms of obfuscated gradients of Athalye et al., ICML 2018."""

import numpy as np
from keras import ops

from keras_dep import attacks
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.attacks.random_search import POINTS
from keras_dep.evaluation.obfuscation.check_result import CheckResult
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import outdone
from keras_dep.evaluation.obfuscation.context import EvaluationContext

LEVELS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
UNBOUNDED_STEPS = 200


def one_step(context: EvaluationContext) -> CheckResult:
    """Compares FGSM with PGD."""
    fgsm, strong = context.fgsm(), context.strong()
    return CheckResult(
        "one step beats many",
        "PGD's accuracy no higher, and FGSM alone breaks < 1 %",
        {"fgsm": float(fgsm.mean()), "pgd": float(strong.mean())},
        [
            outdone("FGSM against PGD", fgsm, strong),
            beyond("FGSM alone", (strong & ~fgsm).sum(), len(fgsm), 0.01),
        ],
    )


def black_box(context: EvaluationContext) -> CheckResult:
    """Compares Square, and transfer from each substitute, with the gradient attacks."""
    white = context.white()
    square = attacks.Square(queries=context.queries, **context.common)
    found = {"square": context.standing(square)}
    for place, substitute in enumerate(context.substitutes, 1):
        crafted = attacks.MIFGSM(step_size=context.epsilon / 5, steps=20, **context.common)
        attack = attacks.Transfer(crafted, substitute)
        found[f"transfer_{place}"] = context.left(attack, context.right)
    evidence = []
    for name, standing in found.items():
        evidence += [
            outdone(f"{name} against white box", standing, white),
            beyond(f"{name} alone", (white & ~standing).sum(), len(white), 0.01),
        ]
    return CheckResult(
        "black box beats white box",
        "no black box below the white box, and none alone breaks 1 %",
        {
            "white_box": float(white.mean()),
            **{name: float(standing.mean()) for name, standing in found.items()},
        },
        evidence,
    )


def radius(context: EvaluationContext) -> CheckResult:
    """Measures PGD at growing radii."""
    curve = [context.pgd(level / 255) for level in LEVELS]
    clean = float(context.right.mean())
    measured = {f"at_{level}": float(each.mean()) for level, each in zip(LEVELS, curve)}
    return CheckResult(
        "a larger ball does not help",
        "accuracy never rises with epsilon, and epsilon 0 gives the clean one",
        {"clean": clean, **measured},
        [
            outdone(f"{LEVELS[i]} against {LEVELS[i + 1]}", curve[i], curve[i + 1])
            for i in range(len(LEVELS) - 1)
        ],
        facts=measured["at_0"] == clean,
    )


def unbounded(context: EvaluationContext) -> CheckResult:
    """Measures PGD without a bound, from noise and from images of other classes."""
    attack: Record = {
        "epsilon": 1.0,
        "step_size": 1 / 40,
        "steps": UNBOUNDED_STEPS,
        "seed": context.seed,
    }
    found = {"noise": context.standing(attacks.PGD(**attack))}
    others = _of_other_classes(context)
    if others is not None:
        found["another class"] = context.left(_FromImages(others, **attack), context.right)
    total = context.right.sum()
    return CheckResult(
        "an unbounded attack fails",
        "at epsilon 1 PGD of 200 steps breaks 99.9 % of the correct images, from any start",
        {
            f"from {name}": float((total - left.sum()) / max(total, 1))
            for name, left in found.items()
        },
        [
            beyond(f"standing, from {name}", left.sum(), total, 0.001)
            for name, left in found.items()
        ],
    )


def random_points(context: EvaluationContext) -> CheckResult:
    """Draws random points around the images that withstand the gradient attacks."""
    left = white = context.white()
    for points in POINTS:
        attack = attacks.RandomSearch(draws=context.draws, points=points, **context.common)
        left = context.left(attack, left)
    broken, survivors = (white & ~left).sum(), int(white.sum())
    return CheckResult(
        "random points break images that the gradient misses",
        "they break < 0.5 % of those that withstand the gradient attacks",
        {"survivors": survivors, "draws": len(POINTS) * context.draws},
        [beyond("survivors broken", broken, survivors, 0.005)],
    )


class _FromImages(attacks.PGD):
    """PGD that starts at a given image per class."""

    def __init__(
        self, starts: Array, *, epsilon: float, step_size: float, steps: int, seed: int
    ) -> None:
        super().__init__(epsilon=epsilon, step_size=step_size, steps=steps, seed=seed)
        self.starts = starts

    def _search(self, model, look, images, labels, seed):
        start = ops.take(ops.convert_to_tensor(self.starts), labels, axis=0)
        start = self.threat.project(start, images)
        return self.climb(look, start, images, labels)


def _of_other_classes(context):
    """Returns for each class an image that is right in another class, if there are two classes."""
    first = {
        int(label): i for i, label in reversed(list(enumerate(context.labels))) if context.right[i]
    }
    if len(first) < 2:
        return None
    known = sorted(first)
    after = [next((c for c in known if c > k), known[0]) for k in range(1 + known[-1])]
    return np.stack([context.images[first[label]] for label in after])
