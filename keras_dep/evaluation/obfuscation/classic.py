"""The five signs of Athalye et al., ICML 2018."""

import numpy as np
from keras import ops

from keras_dep import attacks
from keras_dep.attacks.random_search import POINTS
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import outdone
from keras_dep.evaluation.obfuscation.check_result import row

LEVELS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
UNBOUNDED_STEPS = 200


def one_step(bench):
    fgsm, strong = bench.fgsm(), bench.strong()
    return row(
        "one step beats many",
        "PGD's accuracy no higher, and FGSM alone breaks < 1 %",
        {"fgsm": float(fgsm.mean()), "pgd": float(strong.mean())},
        [
            outdone("FGSM against PGD", fgsm, strong),
            beyond("FGSM alone", (strong & ~fgsm).sum(), len(fgsm), 0.01),
        ],
    )


def black_box(bench):
    white = bench.white()
    found = {"square": bench.standing(attacks.Square(queries=bench.queries, **bench.common))}
    for place, substitute in enumerate(bench.substitutes, 1):
        crafted = attacks.MIFGSM(step_size=bench.epsilon / 5, steps=20, **bench.common)
        attack = attacks.Transfer(crafted, substitute)
        found[f"transfer_{place}"] = bench.left(attack, bench.right)
    excesses = []
    for name, standing in found.items():
        excesses += [
            outdone(f"{name} against white box", standing, white),
            beyond(f"{name} alone", (white & ~standing).sum(), len(white), 0.01),
        ]
    return row(
        "black box beats white box",
        "no black box below the white box, and none alone breaks 1 %",
        {
            "white_box": float(white.mean()),
            **{name: float(standing.mean()) for name, standing in found.items()},
        },
        excesses,
    )


def radius(bench):
    curve = [bench.pgd(level / 255) for level in LEVELS]
    clean = float(bench.right.mean())
    measured = {f"at_{level}": float(each.mean()) for level, each in zip(LEVELS, curve)}
    return row(
        "a larger ball does not help",
        "accuracy never rises with epsilon, and epsilon 0 gives the clean one",
        {"clean": clean, **measured},
        [
            outdone(f"{LEVELS[i]} against {LEVELS[i + 1]}", curve[i], curve[i + 1])
            for i in range(len(LEVELS) - 1)
        ],
        facts=[measured["at_0"] == clean],
    )


def unbounded(bench):
    attack = {"epsilon": 1.0, "step_size": 1 / 40, "steps": UNBOUNDED_STEPS, "seed": bench.seed}
    found = {"noise": bench.standing(attacks.PGD(**attack))}
    others = _of_other_classes(bench)
    if others is not None:
        found["another class"] = bench.left(_Elsewhere(others, **attack), bench.right)
    total = bench.right.sum()
    return row(
        "an unbounded attack fails",
        "at epsilon 1 PGD of 200 steps breaks 99.9 % of what was right, from any start",
        {
            f"from {name}": float((total - left.sum()) / max(total, 1))
            for name, left in found.items()
        },
        [
            beyond(f"standing, from {name}", left.sum(), total, 0.001)
            for name, left in found.items()
        ],
    )


def random_points(bench):
    left = white = bench.white()
    for points in POINTS:
        attack = attacks.RandomSearch(draws=bench.draws, points=points, **bench.common)
        left = bench.left(attack, left)
    broken, survivors = (white & ~left).sum(), int(white.sum())
    return row(
        "random points find what the gradient misses",
        "they break < 0.5 % of what the gradient attacks left standing",
        {"survivors": survivors, "draws": len(POINTS) * bench.draws},
        [beyond("survivors broken", broken, survivors, 0.005)],
    )


class _Elsewhere(attacks.PGD):
    """PGD that starts at a given image per class."""

    def __init__(self, starts, **options):
        super().__init__(**options)
        self.starts = starts

    def _search(self, model, look, images, labels, seed):
        start = ops.take(ops.convert_to_tensor(self.starts), labels, axis=0)
        start = self.threat.project(start, images)
        return self.climb(look, start, images, labels)


def _of_other_classes(bench):
    """For each class an image that the model sees rightly in another one, if there are two."""
    first = {
        int(label): i for i, label in reversed(list(enumerate(bench.labels))) if bench.right[i]
    }
    if len(first) < 2:
        return None
    known = sorted(first)
    after = [next((c for c in known if c > k), known[0]) for k in range(1 + known[-1])]
    return np.stack([bench.images[first[label]] for label in after])
