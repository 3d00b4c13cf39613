"""White-box attacks on images in [0, 1], one file each, one calling convention."""

from keras_dep.attacks.fgsm import FGSM
from keras_dep.attacks.pgd import PGD

__all__ = ["FGSM", "PGD"]
