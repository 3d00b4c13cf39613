"""Terms that published defences add to the loss, one file each."""

from keras_dep.training.loss_terms.base import LossTerm
from keras_dep.training.loss_terms.membrane_perturbation import MembranePerturbation
from keras_dep.training.loss_terms.sparse_input_gradient import SparseInputGradient
from keras_dep.training.loss_terms.temporal_input_gradient import TemporalInputGradient

__all__ = ["LossTerm", "MembranePerturbation", "SparseInputGradient", "TemporalInputGradient"]
