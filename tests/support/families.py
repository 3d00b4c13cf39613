"""Networks of every family, small enough to train in a test, or without their weights."""

import keras

from keras_dep import models
from keras_dep.models import nf_resnet
from keras_dep.models import resnet
from keras_dep.models import sew_resnet
from keras_dep.models import vgg
from keras_dep.models import wide_resnet

FAMILIES = ("vgg5", "vgg11_rat", "resnet18", "nf_resnet18", "wrn16_4", "sew_resnet18")


def narrow(monkeypatch):
    """Gives the families few channels and blocks, and leaves their wiring as it is."""
    monkeypatch.setitem(vgg.STAGES, "vgg5", (4, "M", 6, 6, "M"))
    monkeypatch.setitem(vgg.DEEP_HEADED_STAGES, "vgg11_rat", (4, "M", 6, "M"))
    monkeypatch.setattr(vgg, "DEEP_HEAD_WIDTH", 16)
    for module in (resnet, nf_resnet, sew_resnet):
        monkeypatch.setattr(module, "WIDTHS", (4, 6))
    for module, name in zip((resnet, nf_resnet, sew_resnet), FAMILIES[2:4] + FAMILIES[5:]):
        monkeypatch.setitem(module.BLOCKS, name, (1, 1))
    monkeypatch.setattr(wide_resnet, "WIDTHS", (3,))
    monkeypatch.setitem(wide_resnet.SIZES, "wrn16_4", (2, 2))


def graph(name, **options):
    """The network in full size, its millions of weights not drawn."""
    with keras.StatelessScope(initialize_variables=False):
        return models.build(name, **options)
