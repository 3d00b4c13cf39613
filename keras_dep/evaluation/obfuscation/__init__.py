"""Signs of obfuscated gradients, one function `(bench) -> row` each."""

from keras_dep.evaluation.obfuscation import classic
from keras_dep.evaluation.obfuscation import gradient
from keras_dep.evaluation.obfuscation import search

# By the number that each has in the table.
SIGNS = {
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
    14: search.twin,
    15: gradient.label_leak,
    16: gradient.rounding,
}
