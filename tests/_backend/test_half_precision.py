"""Whether a device has kernels for half precision."""

import keras
import pytest

from keras_dep import _backend


@pytest.mark.parametrize("capability, slow", [("AVX512", False), ("AVX2", True), ("NO AVX", True)])
def test_torch_alone_computes_half_precision_slowly_and_on_old_processors(
    monkeypatch, capability, slow
):
    name = keras.backend.backend()
    if name == "torch":
        import torch

        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        slow = slow and keras.ops.zeros(1).device.type == "cpu"
    assert _backend.half_is_slow() == (slow and name == "torch")
