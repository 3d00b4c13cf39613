"""Train steps of defences: adversarial batches, loss terms, sharpness, and poisoned batches."""

from keras_dep.training.adversarial import MarkedBatches
from keras_dep.training.adversarial import PerturbedTraining
from keras_dep.training.adversarial import PoisonSource
from keras_dep.training.defended import DefendedTraining
from keras_dep.training.loss_terms import LossTerm
from keras_dep.training.loss_terms import MembranePerturbation
from keras_dep.training.loss_terms import SparseInputGradient
from keras_dep.training.loss_terms import TemporalInputGradient
from keras_dep.training.poison_schedule import PoisonSchedule
from keras_dep.training.recalibration import recalibrate
from keras_dep.training.replay import CraftedNoise
from keras_dep.training.replay import FreeAdversarial
from keras_dep.training.sharpness import SharpnessAware

__all__ = [
    "CraftedNoise",
    "DefendedTraining",
    "FreeAdversarial",
    "LossTerm",
    "MarkedBatches",
    "MembranePerturbation",
    "PerturbedTraining",
    "PoisonSchedule",
    "PoisonSource",
    "SharpnessAware",
    "SparseInputGradient",
    "TemporalInputGradient",
    "recalibrate",
]
