"""Robustness of a model in one call, recorded with every setting that decides the number."""

from keras_dep.evaluation.accuracy import craft
from keras_dep.evaluation.accuracy import robust_accuracy
from keras_dep.evaluation.card import card
from keras_dep.evaluation.evaluate import evaluate
from keras_dep.evaluation.intervals import wilson
from keras_dep.evaluation.obfuscation.checklist import checklist
from keras_dep.evaluation.obfuscation.checklist import checklist_table
from keras_dep.evaluation.obfuscation.health import gradient_health
from keras_dep.evaluation.plots import draw_sweep
from keras_dep.evaluation.plots import side_by_side
from keras_dep.evaluation.reference_protocol import released_protocol
from keras_dep.evaluation.summary import summary
from keras_dep.evaluation.sweeps import epsilon_sweep
from keras_dep.evaluation.sweeps import step_sweep

__all__ = [
    "card",
    "checklist",
    "checklist_table",
    "craft",
    "draw_sweep",
    "epsilon_sweep",
    "evaluate",
    "gradient_health",
    "released_protocol",
    "robust_accuracy",
    "side_by_side",
    "step_sweep",
    "summary",
    "wilson",
]
