"""Training under distribution shift: poisoned batches and adversarial batches."""

from keras_dep.training.adversarial import MarkedBatches
from keras_dep.training.adversarial import PerturbedTraining
from keras_dep.training.adversarial import PoisonSource
from keras_dep.training.poison_schedule import PoisonSchedule

__all__ = ["MarkedBatches", "PerturbedTraining", "PoisonSchedule", "PoisonSource"]
