"""Attacks on images in [0, 1]: each is an object, called as `attack(model, x, y) -> x_adv`."""

from keras_dep.attacks.apgd import APGD
from keras_dep.attacks.apgdt import APGDT
from keras_dep.attacks.base import Attack
from keras_dep.attacks.bim import BIM
from keras_dep.attacks.fgsm import FGSM
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_estimators import ASSG
from keras_dep.attacks.gradient_estimators import BPTR
from keras_dep.attacks.gradient_estimators import HART
from keras_dep.attacks.gradient_estimators import PDSG
from keras_dep.attacks.gradient_estimators import RGA
from keras_dep.attacks.gradient_estimators import Conversion
from keras_dep.attacks.mifgsm import MIFGSM
from keras_dep.attacks.noise import GaussianNoise
from keras_dep.attacks.pgd import PGD
from keras_dep.attacks.random_search import RandomSearch
from keras_dep.attacks.reference_code_attack import ReferenceCodeAttack
from keras_dep.attacks.registry import from_config
from keras_dep.attacks.rfgsm import RFGSM
from keras_dep.attacks.sapgd import SAPGD
from keras_dep.attacks.spike_retiming import SpikeRetiming
from keras_dep.attacks.spsa import SPSA
from keras_dep.attacks.square import Square
from keras_dep.attacks.threat import Threat
from keras_dep.attacks.transfer import Transfer

__all__ = [
    "APGD",
    "APGDT",
    "ASSG",
    "Attack",
    "BIM",
    "BPTR",
    "Conversion",
    "FGSM",
    "from_config",
    "GaussianNoise",
    "GradientAttack",
    "HART",
    "MIFGSM",
    "PDSG",
    "PGD",
    "RandomSearch",
    "ReferenceCodeAttack",
    "RFGSM",
    "RGA",
    "SAPGD",
    "SpikeRetiming",
    "SPSA",
    "Square",
    "Threat",
    "Transfer",
]
