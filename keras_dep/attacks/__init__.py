"""White-box attacks on images in [0, 1], one file each, one calling convention."""

from keras_dep.attacks.apgd import APGD
from keras_dep.attacks.fgsm import FGSM
from keras_dep.attacks.pgd import PGD
from keras_dep.attacks.sapgd import SAPGD

__all__ = ["APGD", "FGSM", "PGD", "SAPGD"]
