"""What the guide to other attack libraries shows a reader to type runs as it stands."""

import pathlib
import re

import keras
import numpy as np
import pytest

from tests.support.attacked import problem

if keras.backend.backend() != "torch":
    pytest.skip("the peers are torch libraries", allow_module_level=True)

for library in ("torchattacks", "foolbox", "pyautoattack"):
    pytest.importorskip(library)

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "other-attack-libraries.md"


def test_other_libraries_attack_the_adapted_model():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (guide,) = [block for block in blocks if "channels_first(" in block]
    model, x, labels = problem("spiking")
    # Of images that are wrong as they are a whole suite is soon done.
    given = {"model": model, "x": x, "y": (labels + 1) % 5, "np": np, "torch": _torch()}
    exec(f"import keras_dep\n{guide}", given)
    assert given["images"].shape == (8, 3, 8, 8)
    assert given["adapted"](given["images"]).shape == (8, 5)


def _torch():
    import torch

    return torch
