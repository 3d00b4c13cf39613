"""Attacks on images in [0, 1], one file each, one calling convention."""

from keras_dep.attacks.apgd import APGD
from keras_dep.attacks.apgdt import APGDT
from keras_dep.attacks.bim import BIM
from keras_dep.attacks.estimators import ASSG
from keras_dep.attacks.estimators import BPTR
from keras_dep.attacks.estimators import HART
from keras_dep.attacks.estimators import PDSG
from keras_dep.attacks.estimators import RGA
from keras_dep.attacks.estimators import Conversion
from keras_dep.attacks.fgsm import FGSM
from keras_dep.attacks.interoperability import channels_first
from keras_dep.attacks.mifgsm import MIFGSM
from keras_dep.attacks.noise import GaussianNoise
from keras_dep.attacks.pgd import PGD
from keras_dep.attacks.random_search import RandomSearch
from keras_dep.attacks.record import from_config
from keras_dep.attacks.released import Released
from keras_dep.attacks.rfgsm import RFGSM
from keras_dep.attacks.sapgd import SAPGD
from keras_dep.attacks.spsa import SPSA
from keras_dep.attacks.square import Square
from keras_dep.attacks.transfer import Transfer

__all__ = [
    "APGD",
    "APGDT",
    "ASSG",
    "BIM",
    "BPTR",
    "channels_first",
    "Conversion",
    "FGSM",
    "from_config",
    "GaussianNoise",
    "HART",
    "MIFGSM",
    "PDSG",
    "PGD",
    "RandomSearch",
    "Released",
    "RFGSM",
    "RGA",
    "SAPGD",
    "SPSA",
    "Square",
    "Transfer",
]
