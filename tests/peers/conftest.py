"""The peers are compared on the CPU, also where Keras would choose another device."""

import keras
import pytest


@pytest.fixture(autouse=True)
def cpu():
    with keras.device("cpu"):
        yield
