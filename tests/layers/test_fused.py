"""Neurons compiled by torch to one program over all steps: on a GPU, and on a CPU if large."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import surrogates

if keras.backend.backend() != "torch":
    pytest.skip("torch alone leaves fusing to us", allow_module_level=True)

import torch

from keras_dep._backend import torch_derivatives as framework


@pytest.fixture
def programs(monkeypatch):
    """Enables fusion on this device, on a CPU without compiling; yields the traced programs."""
    traced = []

    def runs(graph, _):
        traced.append(graph)
        return graph

    if not torch.cuda.is_available():
        monkeypatch.setattr(framework, "_can_fuse", lambda device: True)
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=runs))
        monkeypatch.setattr(framework, "FEWEST_FUSED", 1)
    framework._fused.cache_clear()
    torch.compiler.reset()
    yield traced
    framework._fused.cache_clear()
    torch.compiler.reset()


NEURONS = {
    "soft": lambda: LIF(3, tau=2.0),
    "hard": lambda: LIF(3, tau=2.0, reset="hard", threshold=0.7, surrogate="arctan"),
    "detached": lambda: LIF(3, tau=2.0, detach_reset=True, detach_membrane=True, width=0.5),
    "learnt": lambda: PLIF(3, shared_by="channel", learn_threshold=True),
    "halves": lambda: LIF(3, tau=2.0, dtype="mixed_bfloat16"),
}


def answers(layer, shape):
    """Spikes, and the gradients of a weighted sum of them in currents and constants, as arrays."""
    draw = np.random.default_rng(0)
    x = ops.convert_to_tensor(draw.normal(0.6, 0.5, shape).astype("float32")).requires_grad_()
    spikes = layer(x)
    weights = ops.convert_to_tensor(draw.normal(size=shape).astype("float32"))
    wanted = [x, *(weight.value for weight in layer.trainable_weights)]
    gradients = torch.autograd.grad((spikes * weights).sum(), wanted)
    return [ops.convert_to_numpy(tensor.detach().float()) for tensor in (spikes, *gradients)]


@pytest.mark.parametrize("kind", NEURONS)
def test_equals_the_operations_one_by_one(kind, programs, monkeypatch):
    layer, shape = NEURONS[kind](), (6, 4, 5, 8)
    fused = answers(layer, shape)
    assert 0.2 < fused[0].mean() < 0.8
    with monkeypatch.context() as patch:
        patch.setattr(framework, "_fuses", lambda tensor: False)
        alone = answers(layer, shape)
    # Values that differ in the last place may round differently in half precision.
    rounding = 2**-7 if layer.compute_dtype == "bfloat16" else 1e-5
    for one, other in zip(fused, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=rounding, atol=1e-6)


def test_one_program_serves_layers_of_all_sizes(programs):
    if torch.cuda.is_available():
        pytest.skip("counts programs where this test's own compiler makes them")
    # The compiler treats equal sizes as one variable.
    for shape in ((9, 3, 3, 3), (6, 4, 5, 8), (12, 4, 5, 8), (6, 2, 3, 16), (12, 8, 8, 4), (6, 4)):
        answers(LIF(3, tau=2.0), shape)
    assert len(programs) == 2


def test_each_surrogate_has_a_program(programs):
    if torch.cuda.is_available():
        pytest.skip("counts programs where this test's own compiler makes them")
    kinds = [
        {"surrogate": name, "width": width} for name in surrogates.names()[:6] for width in (1, 2)
    ]
    for _ in range(2):
        for kind in kinds:
            answers(LIF(3, **kind), (6, 4))
    # More than the compiler keeps by default.
    assert len(programs) == 1 + len(kinds) > torch._dynamo.config.recompile_limit


def test_no_more_is_kept_than_the_currents(programs):
    layer, kept = LIF(3, tau=2.0), []
    x = ops.convert_to_tensor(np.ones((6, 4, 4, 8), "float32")).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        layer(x)
    assert sum(kept) == x.numel()


def test_a_long_run_is_left_as_it_is(programs):
    steps = framework.LONGEST_FUSED + 1
    answers(LIF(steps), (steps, 4))
    assert not programs


def test_few_elements_are_left_as_they_are_on_a_cpu(programs, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("on a GPU every size is fused")
    monkeypatch.setattr(framework, "FEWEST_FUSED", 6 * 4 + 1)
    answers(LIF(3), (6, 4))
    assert not programs
    monkeypatch.setattr(framework, "FEWEST_FUSED", 6 * 4)
    answers(LIF(3), (6, 4))
    assert len(programs) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="the other tests compile on a GPU")
class TestCompilerOfTheProcessor:
    @pytest.fixture(autouse=True)
    def asked_anew(self, monkeypatch):
        monkeypatch.setattr(framework, "FEWEST_FUSED", 1)
        framework._can_fuse.cache_clear()
        framework._fused.cache_clear()
        yield
        framework._can_fuse.cache_clear()

    @pytest.mark.parametrize("kind", ["hard", "learnt", "halves"])
    def test_its_programs_equal_the_operations_one_by_one(self, kind, monkeypatch):
        if not framework._can_fuse("cpu"):
            pytest.skip("torch.compile needs a C++ compiler and Python's header files")
        # More elements than a vector of the processor holds, and a remainder.
        layer, shape = NEURONS[kind](), (6, 4, 5, 9)
        fused = answers(layer, shape)
        assert framework._fused.cache_info().currsize == 2
        monkeypatch.setattr(framework, "FEWEST_FUSED", 2**22)
        alone = answers(layer, shape)
        np.testing.assert_array_equal(fused[0], alone[0])
        rounding = 2**-7 if layer.compute_dtype == "bfloat16" else 1e-5
        for one, other in zip(fused, alone, strict=True):
            np.testing.assert_allclose(one, other, rtol=rounding, atol=1e-6)

    def test_a_potential_that_is_not_finite_stays_visible(self, monkeypatch):
        if not framework._can_fuse("cpu"):
            pytest.skip("torch.compile needs a C++ compiler and Python's header files")
        x = np.ones((6, 40), "float32")
        x[0, 3], x[2, 5] = np.nan, np.inf
        fused = ops.convert_to_numpy(LIF(3, tau=2.0)(x))
        assert framework._fused.cache_info().currsize == 1
        monkeypatch.setattr(framework, "FEWEST_FUSED", 2**22)
        alone = ops.convert_to_numpy(LIF(3, tau=2.0)(x))
        assert np.isnan(alone).any(axis=0).sum() == 2
        np.testing.assert_array_equal(fused, alone)

    def test_without_a_compiler_the_operations_run_one_by_one_and_a_warning_tells(
        self, monkeypatch
    ):
        def fails(*args, **kwargs):
            raise RuntimeError("no working C++ compiler\nand more lines")

        monkeypatch.setattr(torch, "compile", fails)
        layer = NEURONS["hard"]()
        told = r"\(no working C\+\+ compiler\); install a C\+\+ compiler and Python's header"
        with pytest.warns(UserWarning, match=told) as seen:
            first = answers(layer, (6, 4, 5, 8))
            again = answers(layer, (6, 4, 5, 8))
        assert sum("torch.compile fails" in str(each.message) for each in seen) == 1
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
