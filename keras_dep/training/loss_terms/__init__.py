"""Terms that published defences add to the loss, one file each."""

from keras_dep.training.loss_terms.base import LossTerm

__all__ = ["LossTerm"]
