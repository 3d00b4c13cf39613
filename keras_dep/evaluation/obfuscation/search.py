"""Checks whether other searches break more images than the usual gradient attack."""

from collections.abc import Callable
from collections.abc import Iterable

import keras
import numpy as np

from keras_dep import attacks
from keras_dep import surrogates
from keras_dep._internal.types import Array
from keras_dep.attacks.gradient_estimators import ESTIMATORS
from keras_dep.attacks.randomness import is_random
from keras_dep.evaluation import coverage
from keras_dep.evaluation.obfuscation.check_result import CheckResult
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import inapplicable
from keras_dep.evaluation.obfuscation.check_result import outdone
from keras_dep.evaluation.obfuscation.context import EvaluationContext
from keras_dep.layers.overrides import spiking_layers

# Multiples of the steps, and of the starts, to try.
LONGER = (1, 4, 20)
MORE_STARTS = 4
# Random directions of each gradient that is estimated by differences.
DIRECTIONS = 25


def convergence(context: EvaluationContext) -> CheckResult:
    """Gives PGD more steps and more starts."""
    measured, standing, before = {}, context.right, context.right
    for factor in LONGER:
        # Attacks only remaining images, from the same start, so that accuracy cannot rise.
        before = standing
        standing = context.pgd(steps=factor * context.steps, among=standing)
        measured[f"steps_{factor * context.steps}"] = float(standing.mean())
    strong = context.strong()
    starts = MORE_STARTS * context.restarts
    again = context.pgd(restarts=starts, among=strong)
    measured |= {
        f"starts_{context.restarts}": float(strong.mean()),
        f"starts_{starts}": float(again.mean()),
    }
    return CheckResult(
        "the attack has not converged",
        "neither five times the steps nor four times the starts break 1 % more",
        measured,
        [
            beyond("broken by more steps", (before & ~standing).sum(), len(standing), 0.01),
            beyond("broken by more starts", (strong & ~again).sum(), len(strong), 0.01),
        ],
    )


def surrogate_choice(context: EvaluationContext) -> CheckResult:
    """Attacks through every surrogate."""
    return _other_derivatives(
        context,
        "another surrogate breaks more",
        surrogates.names(),
        lambda name: context.pgd(surrogate=name),
        spiking_layers,
    )


def estimator_choice(context: EvaluationContext) -> CheckResult:
    """Attacks through every gradient estimator."""
    return _other_derivatives(
        context,
        "another rule for the derivative breaks more",
        ESTIMATORS,
        lambda name: context.pgd(estimator=name),
        _neurons,
    )


def differences(context: EvaluationContext) -> CheckResult:
    """Compares SPSA, which needs no gradient of the model, with the gradient attacks."""
    steps = max(1, context.queries // (2 * DIRECTIONS))
    size = context.epsilon * min(1.0, 2.5 / steps)
    spsa = attacks.SPSA(steps=steps, step_size=size, directions=DIRECTIONS, **context.common)
    white, found = context.white(), context.standing(spsa)
    return CheckResult(
        "differences of answers break more than the gradient",
        "SPSA no better than the gradient attacks, and it alone breaks < 1 %",
        {"white_box": float(white.mean()), "spsa": float(found.mean())},
        [
            outdone("SPSA against white box", found, white),
            beyond("SPSA alone", (white & ~found).sum(), len(white), 0.01),
        ],
    )


def ann_counterpart(context: EvaluationContext) -> CheckResult:
    """Transfers images from the ANN counterpart, which has ReLUs for spikes."""
    name = "the ANN counterpart breaks more"
    criterion = "images made on it break < 1 % of those that withstand the gradient attacks"
    if not _neurons(context.model):
        return _without_neurons(context, name, criterion)
    white = context.white()
    # MI-FGSM asks the network only at the end, as a transfer does.
    crafted = context.standing(
        attacks.MIFGSM(
            estimator="conversion", step_size=context.epsilon / 5, steps=20, **context.common
        )
    )
    return CheckResult(
        name,
        criterion,
        {
            "white_box": float(white.mean()),
            "ann_counterpart": float(crafted.mean()),
            **_blind_spot(context),
        },
        [beyond("ANN counterpart alone", (white & ~crafted).sum(), len(white), 0.01)],
    )


def optimiser_choice(context: EvaluationContext) -> CheckResult:
    """Compares APGD and SA-PGD with PGD."""
    return _compared(
        "another optimiser breaks more",
        "APGD and SA-PGD of as many steps break < 2 % more than PGD",
        "pgd",
        context.strong(),
        {"apgd": context.adaptive(), "sapgd": context.stable()},
    )


def samples(context: EvaluationContext) -> CheckResult:
    """Averages more gradients of a model that draws at random."""
    name, criterion = "averaged gradients break more", "20 samples break < 2 % more than 10"
    if not is_random(context.model, context.images[:1]):
        return inapplicable(name, criterion, answers="always the same")
    few, some, many = (context.pgd(samples=count) for count in (1, 10, 20))
    return _compared(name, criterion, "samples_10", some, {"samples_20": many}, samples_1=few)


def _other_derivatives(
    context: EvaluationContext,
    name: str,
    choices: Iterable[str],
    attacked: Callable[[str], Array],
    layers: Callable[[keras.Model], list],
) -> CheckResult:
    criterion = "all of them break < 2 % more than PGD with as many starts"
    if not layers(context.model):
        return _without_neurons(context, name, criterion)
    found = {choice: attacked(choice) for choice in choices}
    # As many searches on either side.
    trained = context.pgd(restarts=max(context.restarts, len(found)))
    result = _compared(name, criterion, "trained", trained, found)
    result.measured.update(_blind_spot(context))
    return result


def _without_neurons(context, name, criterion):
    return inapplicable(name, criterion, **(_blind_spot(context) or {"neurons": "none"}))


def _blind_spot(context):
    reason = coverage.blind_spot(context.model)
    return {} if reason is None else {"left_out": reason}


def _neurons(model):
    """Returns the spiking layers if all of them take an estimator, otherwise none."""
    layers = spiking_layers(model)
    return layers if all(layer.takes_estimator for layer in layers) else []


def _compared(name, criterion, reference_name, reference, rivals, **others):
    """Counts the images that the rivals break and the reference does not."""
    left = np.logical_and.reduce(list(rivals.values()))
    shown = {reference_name: reference, **rivals, **others}
    return CheckResult(
        name,
        criterion,
        {each: float(standing.mean()) for each, standing in shown.items()},
        [beyond("broken by them alone", (reference & ~left).sum(), len(left), 0.02)],
    )
