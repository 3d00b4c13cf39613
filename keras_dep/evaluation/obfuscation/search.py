"""Whether another search breaks more than the gradient attack that one would report."""

import numpy as np

from keras_dep import attacks
from keras_dep import surrogates
from keras_dep.attacks.gradient_estimators import ESTIMATORS
from keras_dep.attacks.randomness import is_random
from keras_dep.evaluation import coverage
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import inapplicable
from keras_dep.evaluation.obfuscation.check_result import outdone
from keras_dep.evaluation.obfuscation.check_result import row
from keras_dep.layers.overrides import spiking_layers

# Of the steps, and of the starts, from one look to the next.
LONGER = (1, 4, 20)
MORE_STARTS = 4
# Of each gradient that differences estimate.
DIRECTIONS = 25


def convergence(bench):
    measured, standing, before = {}, bench.right, None
    for factor in LONGER:
        # Only what still stands, with the same start: the accuracy can but fall.
        before, standing = standing, bench.pgd(steps=factor * bench.steps, among=standing)
        measured[f"steps_{factor * bench.steps}"] = float(standing.mean())
    strong = bench.strong()
    starts = MORE_STARTS * bench.restarts
    again = bench.pgd(restarts=starts, among=strong)
    measured |= {
        f"starts_{bench.restarts}": float(strong.mean()),
        f"starts_{starts}": float(again.mean()),
    }
    return row(
        "the attack has not converged",
        "neither five times the steps nor four times the starts break 1 % more",
        measured,
        [
            beyond("broken by more steps", (before & ~standing).sum(), len(standing), 0.01),
            beyond("broken by more starts", (strong & ~again).sum(), len(strong), 0.01),
        ],
    )


def surrogate_choice(bench):
    return _other_derivatives(
        bench, "another surrogate breaks more", "surrogate", surrogates.names(), spiking_layers
    )


def estimator_choice(bench):
    return _other_derivatives(
        bench, "another rule for the derivative breaks more", "estimator", ESTIMATORS, _neurons
    )


def differences(bench):
    """An attack that differentiates through any defence, as it asks for answers alone."""
    steps = max(1, bench.queries // (2 * DIRECTIONS))
    size = bench.epsilon * min(1.0, 2.5 / steps)
    spsa = attacks.SPSA(steps=steps, step_size=size, directions=DIRECTIONS, **bench.common)
    white, found = bench.white(), bench.standing(spsa)
    return row(
        "differences of answers break more than the gradient",
        "SPSA no better than the gradient attacks, and it alone breaks < 1 %",
        {"white_box": float(white.mean()), "spsa": float(found.mean())},
        [
            outdone("SPSA against white box", found, white),
            beyond("SPSA alone", (white & ~found).sum(), len(white), 0.01),
        ],
    )


def twin(bench):
    sign = "the twin without spikes breaks more"
    criterion = "what is made on it breaks < 1 % that the gradient attacks leave standing"
    if not _neurons(bench.model):
        return _without_neurons(bench, sign, criterion)
    white = bench.white()
    # Its gradient alone leads; the network is asked only in the end, as in a transfer.
    crafted = bench.standing(
        attacks.MIFGSM(
            estimator="conversion", step_size=bench.epsilon / 5, steps=20, **bench.common
        )
    )
    return row(
        sign,
        criterion,
        {"white_box": float(white.mean()), "twin": float(crafted.mean()), **_blind_spot(bench)},
        [beyond("twin alone", (white & ~crafted).sum(), len(white), 0.01)],
    )


def optimiser_choice(bench):
    return _compared(
        "another optimiser breaks more",
        "APGD and SA-PGD of as many steps break < 2 % more than PGD",
        "pgd",
        bench.strong(),
        {"apgd": bench.adaptive(), "sapgd": bench.stable()},
    )


def samples(bench):
    sign, criterion = "averaged gradients break more", "20 samples break < 2 % more than 10"
    if not is_random(bench.model, bench.images[:1]):
        return inapplicable(sign, criterion, answers="always the same")
    few, some, many = (bench.pgd(samples=count) for count in (1, 10, 20))
    return _compared(sign, criterion, "samples_10", some, {"samples_20": many}, samples_1=few)


def _other_derivatives(bench, sign, argument, names, layers):
    criterion = "all of them break < 2 % more than PGD with as many starts"
    if not layers(bench.model):
        return _without_neurons(bench, sign, criterion)
    found = {name: bench.pgd(**{argument: name}) for name in names}
    # As many searches on either side.
    trained = bench.pgd(restarts=max(bench.restarts, len(found)))
    found = _compared(sign, criterion, "trained", trained, found)
    found["measured"] |= _blind_spot(bench)
    return found


def _without_neurons(bench, sign, criterion):
    return inapplicable(sign, criterion, **(_blind_spot(bench) or {"neurons": "none"}))


def _blind_spot(bench):
    reason = coverage.blind_spot(bench.model)
    return {} if reason is None else {"left_out": reason}


def _neurons(model):
    """The spiking layers, if every one of them takes an estimator."""
    layers = spiking_layers(model)
    return layers if all(layer.takes_estimator for layer in layers) else []


def _compared(sign, criterion, name, reference, rivals, **others):
    """What rivals together break that the reference does not."""
    left = np.logical_and.reduce(list(rivals.values()))
    shown = {name: reference, **rivals, **others}
    return row(
        sign,
        criterion,
        {name: float(standing.mean()) for name, standing in shown.items()},
        [beyond("broken by them alone", (reference & ~left).sum(), len(left), 0.02)],
    )
