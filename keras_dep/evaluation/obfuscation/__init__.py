"""Checks for obfuscated gradients, one function `(context) -> CheckResult` each."""

from collections.abc import Callable

from keras_dep.evaluation.obfuscation import classic
from keras_dep.evaluation.obfuscation import gradient
from keras_dep.evaluation.obfuscation import search
from keras_dep.evaluation.obfuscation.check_result import CheckResult
from keras_dep.evaluation.obfuscation.context import EvaluationContext

# By their numbers in the table.
CHECKS: dict[int, Callable[[EvaluationContext], CheckResult]] = {
    1: classic.one_step,
    2: classic.black_box,
    3: classic.radius,
    4: classic.unbounded,
    5: classic.random_points,
    6: search.convergence,
    7: gradient.health,
    8: search.surrogate_choice,
    9: search.optimiser_choice,
    10: search.estimator_choice,
    11: search.samples,
    12: search.differences,
    13: gradient.landscape,
    14: search.ann_counterpart,
    15: gradient.label_leak,
    16: gradient.rounding,
}
