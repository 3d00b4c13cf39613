"""Signs of obfuscated gradients, measured: which of them a model shows.

A network can survive an attack because it is robust, or because its gradient leads nowhere. Each
row is one sign of the latter, with what was measured, the criterion, and whether it is passed.
"""

import json

import numpy as np

from keras_dep import attacks
from keras_dep import surrogates
from keras_dep.attacks.random_search import POINTS
from keras_dep.evaluation import measure
from keras_dep.evaluation.health import gradient_health
from keras_dep.evaluation.run import is_random
from keras_dep.substitution import spiking_layers

LEVELS = (0, 1, 2, 4, 8, 16, 32, 64, 128)


def checklist(
    model,
    images,
    labels,
    *,
    epsilon=8 / 255,
    substitutes=(),
    steps=50,
    restarts=5,
    queries=5000,
    draws=10000,
    seed=0,
    batch_size=128,
    rows=None,
):
    """Measures the signs of gradient obfuscation, one row each.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        images: float array `(n, ...)` in [0, 1].
        labels: integer array `(n,)`.
        epsilon: radius of the L-infinity ball in pixel units.
        substitutes: independently trained models to transfer from; two or more give row 2 its full
            weight.
        steps: steps of the iterative attacks.
        restarts: starts of PGD.
        queries: queries of Square.
        draws: random points per image, corners and uniform ones each.
        seed: seed of every attack.
        batch_size: images at a time.
        rows: numbers of the rows to measure; default: all.

    Returns:
        List of rows, dictionaries of `number`, `sign`, `measured` (a dictionary), `criterion` and
        `passed`, which is `None` where the sign cannot be measured on this model. Accuracies count
        images that were right to begin with; shares are of all images unless said otherwise.

    Raises:
        ValueError: data that do not fit, or an unknown row.

    Source: Athalye et al., ICML 2018, signs 1 to 5; the others are particular to spiking networks.
    """
    images, labels = measure.check_data(images, labels)
    rows = tuple(_ROWS) if rows is None else rows
    if unknown := set(rows) - set(_ROWS):
        raise ValueError(f"rows must be among {list(_ROWS)}; received {sorted(unknown)}.")
    bench = _Bench(model, images, labels, batch_size, epsilon, seed, steps, restarts)
    bench.queries, bench.draws, bench.substitutes = queries, draws, substitutes
    return [_ROWS[number](number, bench) for number in rows]


def checklist_table(rows):
    """The rows as a Markdown table."""
    lines = ["| | sign of obfuscation | measured | criterion | passed |", "|---|---|---|---|---|"]
    verdict = {True: "yes", False: "**no**", None: "not applicable"}
    for row in rows:
        measured = ", ".join(f"{name} {_brief(value)}" for name, value in row["measured"].items())
        cells = (row["number"], row["sign"], measured, row["criterion"], verdict[row["passed"]])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


class _Bench:
    """Which images stand under which attack, measured once, as boolean arrays over all of them."""

    def __init__(self, model, images, labels, batch_size, epsilon, seed, steps, restarts):
        self.model, self.images, self.labels, self.batch_size = model, images, labels, batch_size
        self.epsilon, self.seed, self.steps, self.restarts = epsilon, seed, steps, restarts
        self.search = {"epsilon": epsilon, "seed": seed}
        self.right = measure.right(model, images, labels, batch_size)
        self._known = {}

    def pgd(self, epsilon=None, steps=None, restarts=1, **options):
        """Standing under PGD; one start unless said otherwise."""
        epsilon = self.epsilon if epsilon is None else epsilon
        steps = self.steps if steps is None else steps
        attack = attacks.PGD(
            epsilon=epsilon,
            step_size=min(1.0, 2.5 * epsilon / min(steps, 50)),
            steps=steps,
            restarts=restarts,
            seed=self.seed,
            **options,
        )
        return self.standing(attack)

    def strong(self):
        """Standing under PGD from several starts, what other attacks are measured by."""
        return self.pgd(restarts=self.restarts)

    def adaptive(self):
        return self.standing(attacks.APGD(steps=self.steps, **self.search))

    def stable(self):
        return self.standing(attacks.SAPGD(steps=self.steps, **self.search))

    def white(self):
        """Standing under all gradient attacks."""
        fgsm = self.standing(attacks.FGSM(**self.search))
        return fgsm & self.strong() & self.adaptive() & self.stable()

    def standing(self, attack):
        key = json.dumps(attack.get_config())
        if key not in self._known:
            self._known[key] = self.left(attack, self.right)
        return self._known[key]

    def left(self, attack, among):
        """What an attack leaves right among the images given."""
        result, chosen = among.copy(), np.flatnonzero(among)
        batches = measure.under_attack(
            self.model, attack, self.images[chosen], self.labels[chosen], self.batch_size
        )
        for part, (still, _) in zip(_parts(chosen, self.batch_size), batches):
            result[part] = still
        return result


def _parts(chosen, size):
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


def _row(number, sign, criterion, passed, **measured):
    return {
        "number": number,
        "sign": sign,
        "measured": measured,
        "criterion": criterion,
        "passed": None if passed is None else bool(passed),
    }


def _only(first, second):
    """Share of all images broken by the second attack and not by the first."""
    return float((first & ~second).mean())


def _one_step(number, bench):
    fgsm, strong = bench.standing(attacks.FGSM(**bench.search)), bench.strong()
    exclusive = _only(strong, fgsm)
    return _row(
        number,
        "one step beats many",
        "PGD's accuracy no higher, and FGSM alone breaks < 1 %",
        strong.mean() <= fgsm.mean() and exclusive < 0.01,
        fgsm=float(fgsm.mean()),
        pgd=float(strong.mean()),
        fgsm_alone=exclusive,
    )


def _black_box(number, bench):
    white = bench.white()
    found = {"square": bench.standing(attacks.Square(queries=bench.queries, **bench.search))}
    for place, substitute in enumerate(bench.substitutes, 1):
        crafted = attacks.MIFGSM(step_size=bench.epsilon / 5, steps=20, **bench.search)
        attack = attacks.Transfer(crafted, substitute)
        found[f"transfer_{place}"] = bench.left(attack, bench.right)
    exclusive = max(_only(white, standing) for standing in found.values())
    return _row(
        number,
        "black box beats white box",
        "no black box below the white box, and none alone breaks 1 %",
        all(standing.mean() >= white.mean() for standing in found.values()) and exclusive < 0.01,
        white_box=float(white.mean()),
        **{name: float(standing.mean()) for name, standing in found.items()},
        black_box_alone=exclusive,
    )


def _radius(number, bench):
    curve = [float(bench.pgd(level / 255).mean()) for level in LEVELS]
    clean = float(bench.right.mean())
    return _row(
        number,
        "a larger ball does not help",
        "accuracy never rises with epsilon, and epsilon 0 gives the clean one",
        all(a >= b for a, b in zip(curve, curve[1:])) and curve[0] == clean,
        clean=clean,
        **{f"at_{level}": accuracy for level, accuracy in zip(LEVELS, curve)},
    )


def _unbounded(number, bench):
    left = bench.pgd(1.0, 200)
    broken = 1 - left.sum() / max(bench.right.sum(), 1)
    return _row(
        number,
        "an unbounded attack fails",
        "PGD of 200 steps at epsilon 1 breaks at least 99.9 % of what was right",
        broken >= 0.999,
        broken=float(broken),
    )


def _random_points(number, bench):
    left = white = bench.white()
    for points in POINTS:
        attack = attacks.RandomSearch(draws=bench.draws, points=points, **bench.search)
        left = bench.left(attack, left)
    share = float((white & ~left).sum() / max(white.sum(), 1))
    return _row(
        number,
        "random points find what the gradient misses",
        "they break < 0.5 % of what the gradient attacks left standing",
        share < 0.005,
        survivors=int(white.sum()),
        draws=len(POINTS) * bench.draws,
        broken=share,
    )


def _convergence(number, bench):
    lengths = [factor * bench.steps for factor in (1, 2, 4)]
    found = [float(bench.pgd(steps=length).mean()) for length in lengths]
    return _row(
        number,
        "the attack has not converged",
        "the last doubling of the steps breaks < 1 % more",
        found[1] - found[2] < 0.01,
        **{f"steps_{length}": accuracy for length, accuracy in zip(lengths, found)},
    )


def _health(number, bench):
    found = gradient_health(bench.model, bench.images, bench.labels, batch_size=bench.batch_size)
    return _row(
        number,
        "gradients vanish or break",
        "no image without a gradient, < 50 % zero entries, none not finite",
        found["zero_images"] == 0 and found["zero_pixels"] < 0.5 and not found["non_finite_images"],
        **found,
    )


def _surrogates(number, bench):
    sign, criterion = "another surrogate breaks more", "all of them break < 2 % more than PGD"
    if not spiking_layers(bench.model):
        return _row(number, sign, criterion, None, surrogates="none")
    found = {name: bench.pgd(surrogate=name) for name in surrogates.names()}
    strong = bench.strong()
    gap = _only(strong, np.logical_and.reduce(list(found.values())))
    return _row(
        number,
        sign,
        criterion,
        gap < 0.02,
        trained=float(strong.mean()),
        **{name: float(standing.mean()) for name, standing in found.items()},
        gap=gap,
    )


def _optimisers(number, bench):
    strong, adaptive, stable = bench.strong(), bench.adaptive(), bench.stable()
    gap = _only(strong, adaptive & stable)
    return _row(
        number,
        "another optimiser breaks more",
        "APGD and SA-PGD of as many steps break < 2 % more than PGD",
        gap < 0.02,
        pgd=float(strong.mean()),
        apgd=float(adaptive.mean()),
        sapgd=float(stable.mean()),
        gap=gap,
    )


def _samples(number, bench):
    sign, criterion = "averaged gradients break more", "20 samples break < 2 % more than 10"
    if not is_random(bench.model, bench.images[:1]):
        return _row(number, sign, criterion, None, answers="always the same")
    found = {count: float(bench.pgd(samples=count).mean()) for count in (1, 10, 20)}
    return _row(
        number,
        sign,
        criterion,
        found[10] - found[20] < 0.02,
        **{f"samples_{count}": accuracy for count, accuracy in found.items()},
    )


def _brief(value):
    return f"{value:.4g}" if isinstance(value, float) else value


_ROWS = {
    1: _one_step,
    2: _black_box,
    3: _radius,
    4: _unbounded,
    5: _random_points,
    6: _convergence,
    7: _health,
    8: _surrogates,
    9: _optimisers,
    11: _samples,
}
