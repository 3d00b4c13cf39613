"""Parameter counts of networks of other papers against their sources, and their wiring."""

import keras
import numpy as np
import pytest

from tests.support import families


def build(name, size=32, **options):
    return families.graph(name, input_shape=(size, size, 3), num_classes=10, **options)


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def convolution(inputs, outputs, size=3):
    return size * size * inputs * outputs


def test_the_vgg11_of_snn_rat():
    expected, inputs = 0, 3
    for outputs in (64, 128, 256, 512, 512, 512, 512, 512):
        expected += convolution(inputs, outputs) + outputs + 2 * outputs
        inputs = outputs
    for inputs, outputs in ((512 * 16, 4096), (4096, 4096), (4096, 10)):
        expected += inputs * outputs + outputs
    assert trainable(build("vgg11_rat")) == expected


def test_the_wide_resnet_of_snn_rat():
    """2,748,890 parameters are Zagoruyko and Komodakis' own; each block adds two weights."""
    model = build("wrn16_4")
    assert trainable(model) == 2_748_890 + 6 * 2
    sums = [layer for layer in model.layers if type(layer).__name__ == "WeightedSum"]
    assert [layer.output.shape[1:] for layer in sums[1::2]] == [
        (32, 32, 64),
        (16, 16, 128),
        (8, 8, 256),
    ]
    # The shortcut of the second block of each stage carries potentials, not spikes.
    kinds = [type(layer.input[0]._keras_history.operation).__name__ for layer in sums]
    assert kinds == ["Conv2D", "WeightedSum"] * 3


def test_sew_resnet18_has_the_parameters_of_resnet18():
    """Those of He et al. 2016 for 1000 classes are 11,689,512."""
    model = build("sew_resnet18")
    assert trainable(model) == 11_689_512 - 512 * 990 - 990
    adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    kinds = [type(tensor._keras_history.operation).__name__ for tensor in adds[2].input]
    assert kinds == ["LIF", "LIF"]


@pytest.mark.parametrize(
    "name, blocks", [("nf_resnet18", (2, 2, 2, 2)), ("nf_resnet34", (3, 4, 6, 3))]
)
def test_nf_resnets(name, blocks):
    """Kernel, bias and gain per convolution, one number per block, and the head."""
    model = build(name, size=16)
    expected, inputs = convolution(3, 64, 7) + 2 * 64, 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks)):
        for block in range(count):
            expected += convolution(inputs, width) + convolution(width, width) + 4 * width + 1
            if stage and not block:
                expected += convolution(inputs, width, 1) + 2 * width
            inputs = width
    expected += 512 * 10 + 10
    assert trainable(model) == expected
    scales = [layer.scale for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
    variances = [1 / scale**2 for scale in scales[::4]]
    within_stage = [1 + 0.04 * block for count in blocks for block in range(count)]
    for stage in range(1, 4):
        # The first block of a stage gets the variance of the stage before.
        within_stage[sum(blocks[:stage])] = 1 + 0.04 * blocks[stage - 1]
    np.testing.assert_allclose(variances, within_stage)
