"""DEP's projection against a float64 singular value decomposition, and its algebra."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from keras import ops

from keras_dep import _backend
from keras_dep import deflation
from keras_dep.curvature import precision
from keras_dep.deflation import lanczos
from keras_dep.deflation import projection
from tests.support.native import compiled
from tests.support.native import precisions

ON_TORCH = keras.backend.backend() == "torch"
compiled_deflate = compiled(deflation.deflate)


def reference(gradient, output_axes=1):
    split = gradient.ndim - output_axes
    shape = (int(np.prod(gradient.shape[:split])), -1)
    u, s, vt = np.linalg.svd(gradient.astype("float64").reshape(shape), full_matrices=False)
    return (gradient - (s[0] * np.outer(u[:, 0], vt[0])).reshape(gradient.shape)), s


def deflate(gradient, output_axes=1):
    rest, removed = compiled_deflate(ops.convert_to_tensor(gradient), output_axes)
    return ops.convert_to_numpy(rest), float(removed)


def with_spectrum(rows, columns, singular_values, seed=0):
    draw = np.random.default_rng(seed)
    left = np.linalg.qr(draw.standard_normal((rows, len(singular_values))))[0]
    right = np.linalg.qr(draw.standard_normal((columns, len(singular_values))))[0]
    return ((left * singular_values) @ right.T).astype("float32")


def relative_error(found, expected, gradient):
    scale = np.abs(gradient).max()
    return np.linalg.norm((found - expected) / scale) / np.linalg.norm(gradient / scale)


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (2, 2), (300, 7), (7, 300), (3, 3, 64, 64), (5, 4, 3, 6, 8), (64, 90), (25088, 10)],
    ids=str,
)
def test_equals_a_float64_svd_on_gaussian_gradients(shape):
    gradient = np.random.default_rng(1).standard_normal(shape).astype("float32")
    rest, removed = deflate(gradient)
    expected, s = reference(gradient)
    assert relative_error(rest, expected, gradient) <= 1e-5
    assert removed == pytest.approx(s[0] ** 2 / np.sum(s**2), abs=1e-5)


@pytest.mark.parametrize("ratio", [0.3, 0.7, 0.936, 0.99])
@pytest.mark.parametrize("shape", [(576, 128), (128, 576)])
def test_equals_a_float64_svd_on_decaying_spectra(shape, ratio):
    gradient = with_spectrum(*shape, ratio ** np.arange(100))
    rest, _ = deflate(gradient)
    assert relative_error(rest, reference(gradient)[0], gradient) <= 1e-5


@pytest.mark.parametrize("gap", [0.0, 1e-6, 1e-3])
def test_removes_the_leading_energy_where_the_direction_is_not_determined(gap):
    gradient = with_spectrum(90, 40, np.concatenate([[1.0, 1.0 - gap], 0.5 ** np.arange(1, 30)]))
    rest, removed = deflate(gradient)
    total = np.sum(gradient.astype("float64") ** 2)
    top = np.linalg.svd(gradient.astype("float64"), compute_uv=False)[0] ** 2
    assert removed == pytest.approx(top / total, abs=1e-5)
    assert np.sum(rest.astype("float64") ** 2) / total == pytest.approx(1 - top / total, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_scale_does_not_matter(scale):
    gradient = (scale * with_spectrum(90, 40, 0.6 ** np.arange(30)).astype("float64")).astype(
        "float32"
    )
    rest, _ = deflate(gradient)
    assert relative_error(rest, reference(gradient)[0], gradient) <= 1e-5


def test_one_huge_entry():
    gradient = np.random.default_rng(0).standard_normal((90, 40)).astype("float32")
    gradient[3, 4] = 1e6
    assert relative_error(deflate(gradient)[0], reference(gradient)[0], gradient) <= 1e-5


def test_columns_that_cancel_do_not_hide_the_component():
    column = np.random.default_rng(0).standard_normal((90, 1)).astype("float32")
    gradient = np.concatenate([column, -column] * 20, axis=1)
    rest, removed = deflate(gradient)
    assert np.linalg.norm(rest) <= 1e-5 * np.linalg.norm(gradient)
    assert removed == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(4096, 4096), (300, 9000)])
def test_equals_the_sparse_solver_of_scipy_on_large_flat_gradients(shape):
    gradient = np.random.default_rng(2).standard_normal(shape).astype("float32")
    u, s, vt = scipy.sparse.linalg.svds(gradient.astype("float64"), k=1, tol=1e-8, rng=0)
    rest, removed = deflate(gradient)
    assert relative_error(rest, gradient - s[0] * np.outer(u[:, 0], vt[0]), gradient) <= 1e-5
    assert removed == pytest.approx(s[0] ** 2 / np.sum(gradient.astype("float64") ** 2), abs=1e-5)


def test_rank_one_becomes_zero():
    draw = np.random.default_rng(0)
    gradient = np.outer(draw.standard_normal(90), draw.standard_normal(40)).astype("float32")
    rest, removed = deflate(gradient)
    assert np.linalg.norm(rest) <= 1e-5 * np.linalg.norm(gradient)
    assert removed == pytest.approx(1.0, abs=1e-5)


def test_recorded_gradients_of_a_spiking_network(tmp_path, monkeypatch):
    """Of all kernels of a spiking VGG-11 at the start, middle and end of a short training."""
    path = tmp_path / "recorded.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.support.record_gradients", path],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        check=True,
        timeout=300,
    )
    recorded = np.load(path)
    assert len(recorded.files) == 3 * 9
    for name in recorded.files:
        gradient = recorded[name]
        matrix = gradient.reshape(-1, gradient.shape[-1]).astype("float64")
        # The Gram matrix in float64 has digits to spare, and is much faster to decompose.
        side = matrix if matrix.shape[0] > matrix.shape[1] else matrix.T
        leading = np.linalg.eigh(side.T @ side)[1][:, -1]
        component = np.outer(side @ leading, leading)
        component = component if side is matrix else component.T
        expected = gradient - component.reshape(gradient.shape)
        assert relative_error(deflate(gradient)[0], expected, gradient) <= 1e-5, name
        # On a GPU, torch takes a fixed number of steps, and squares.
        with monkeypatch.context() as patch:
            patch.setattr(_backend, "branches_freely", lambda tensor: False)
            patch.setattr(_backend, "leading_eigenvectors", lambda program, closeness: program)
            assert relative_error(deflate(gradient)[0], expected, gradient) <= 1e-5, name


@pytest.mark.skipif(not ON_TORCH, reason="branches are compiled elsewhere")
@pytest.mark.parametrize("shape", [(1, 1), (300, 7), (21, 90), (30, 40), (576, 128)])
def test_no_look_waits_for_a_device_where_that_would_take_time(shape, monkeypatch):
    import torch

    gradient = with_spectrum(*shape, 0.93 ** np.arange(min(shape)))
    tensor = ops.convert_to_tensor(gradient)
    monkeypatch.setattr(_backend, "branches_freely", lambda tensor: False)
    monkeypatch.setattr(_backend, "leading_eigenvectors", lambda program, closeness: program)
    with monkeypatch.context() as patch:
        for name in ("__bool__", "__float__", "__int__", "item", "tolist", "numpy", "cpu"):
            patch.setattr(torch.Tensor, name, lambda *_: pytest.fail("waits for a value"))
        rest, _ = deflation.deflate(tensor)
    error = relative_error(ops.convert_to_numpy(rest), reference(gradient)[0], gradient)
    assert error <= 1e-5


@pytest.mark.skipif(not ON_TORCH, reason="concerns torch.compile")
def test_torch_compile_takes_it():
    import torch

    gradient = with_spectrum(90, 40, 0.6 ** np.arange(30))
    compiled = torch.compile(deflation.deflate)
    rest, _ = compiled(ops.convert_to_tensor(gradient))
    assert relative_error(ops.convert_to_numpy(rest), reference(gradient)[0], gradient) <= 1e-5


def test_every_product_is_asked_for_in_full_precision():
    tensor = ops.convert_to_tensor(with_spectrum(90, 40, 0.6 ** np.arange(30)))
    found = precisions(lanczos, "leading_components", tensor)
    assert len(found) > 5 and set(found) == {"full"}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX tells the memory ahead")
def test_takes_less_memory_than_twice_the_largest_gradient():
    import jax

    shapes = [(512, 128), (128, 512)] + [(64, 128)] * 8
    gradients = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]

    @jax.jit
    def rests(gradients):
        results = deflation.deflate_all(gradients, [1] * len(gradients))
        return [rest for rest, *_ in results]

    memory = rests.lower(gradients).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2 * 4 * 512 * 128


def test_zero_stays_zero():
    rest, removed = deflate(np.zeros((90, 40), "float32"))
    assert not rest.any() and removed == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_gradients_pass_untouched(bad):
    gradient = np.random.default_rng(0).standard_normal((90, 40)).astype("float32")
    gradient[2, 3] = bad
    rest, removed = deflate(gradient)
    np.testing.assert_array_equal(rest, gradient)
    assert removed == 0.0


@pytest.mark.parametrize("dtype, tolerance", [("float16", 1e-3), ("bfloat16", 8e-3)])
def test_half_precision_is_computed_in_float32(dtype, tolerance):
    gradient = ops.cast(with_spectrum(90, 40, 0.7 ** np.arange(30)), dtype)
    rest, _ = deflation.deflate(gradient)
    assert keras.backend.standardize_dtype(rest.dtype) == dtype
    exact = ops.convert_to_numpy(ops.cast(gradient, "float32"))
    found = ops.convert_to_numpy(ops.cast(rest, "float32"))
    assert relative_error(found, reference(exact)[0], exact) <= tolerance


def test_same_gradient_same_bits():
    gradient = np.random.default_rng(0).standard_normal((90, 40)).astype("float32")
    np.testing.assert_array_equal(deflate(gradient)[0], deflate(gradient)[0])


def test_eager_equals_compiled():
    gradient = with_spectrum(90, 40, 0.8 ** np.arange(30))
    eager, _ = deflation.deflate(ops.convert_to_tensor(gradient))
    assert relative_error(ops.convert_to_numpy(eager), deflate(gradient)[0], gradient) <= 1e-5


def test_an_eager_caller_compiles_once_per_shape(monkeypatch):
    calls, found = [], lanczos._lanczos
    monkeypatch.setattr(lanczos, "_lanczos", lambda *args: calls.append(args) or found(*args))
    draw = np.random.default_rng(0)
    for _ in range(3):
        deflation.deflate(ops.convert_to_tensor(draw.standard_normal((37, 11)).astype("float32")))
    # torch runs eagerly at full speed.
    assert len(calls) == (3 if ON_TORCH else 1)


def test_equal_shapes_together_equal_each_alone():
    draw = np.random.default_rng(0)
    shapes = [(3, 3, 4, 6), (36, 6), (90, 40), (36, 6), (6, 36), (2, 3, 6, 6)]
    assert len(projection._groups([(36, 6, "float32")] * 5 + [(90, 40, "float32")])) == 2
    gradients = [draw.standard_normal(shape).astype("float32") for shape in shapes]
    gradients[3] *= np.float32(1e-20)
    gradients[1][5, 2] = np.nan
    tensors = [ops.convert_to_tensor(gradient) for gradient in gradients]
    together = deflation.deflate_all(tensors, [1] * len(tensors))
    for gradient, (rest, share, value) in zip(gradients, together):
        if np.isnan(gradient).any():
            np.testing.assert_array_equal(ops.convert_to_numpy(rest), gradient)
            assert float(share) == float(value) == 0
            continue
        expected, s = reference(gradient)
        assert relative_error(ops.convert_to_numpy(rest), expected, gradient) <= 1e-5
        assert float(value) == pytest.approx(s[0], rel=1e-5)
        assert float(share) == pytest.approx(s[0] ** 2 / np.sum(s**2), abs=1e-5)


def test_groups_are_hardly_larger_than_the_largest_matrix():
    shapes = [(10, 10, "float32")] * 8 + [(30, 20, "float32"), (10, 10, "float64")]
    assert projection._groups(shapes) == [[8], [0, 1, 2, 3, 4, 5, 6], [7], [9]]


def test_bases_of_a_group_take_little_room():
    shapes = [(512, 512, "float32")] + [(8, 8, "float32")] * 2000
    groups = projection._groups(shapes)
    assert [len(group) for group in groups] == [1, 1024, 976]
    assert 1024 * 8 * lanczos.BASIS == 512 * 512


def test_keras_layout_equals_the_layout_of_the_released_code():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 12, 20)).astype("float32")
    expected = reference(np.transpose(kernel, (3, 2, 0, 1)).reshape(20, -1))[0]
    expected = np.transpose(expected.reshape(20, 12, 3, 3), (2, 3, 1, 0))
    assert relative_error(deflate(kernel)[0], expected, kernel) <= 1e-5


def test_depthwise_kernels_count_outputs_in_two_axes():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 12, 2)).astype("float32")
    assert relative_error(deflate(kernel, 2)[0], reference(kernel, 2)[0], kernel) <= 1e-5


def test_outputs_may_be_any_axes():
    kernel = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype("float32")
    chosen = [(-2,), (0,), (0, 2), (1, -1), ()]
    tensors = [ops.convert_to_tensor(kernel)] * len(chosen)
    for axes, (rest, *_) in zip(chosen, deflation.deflate_all(tensors, chosen)):
        outputs = sorted(axis % 4 for axis in axes)
        order = [axis for axis in range(4) if axis not in outputs] + outputs
        moved = np.transpose(kernel, order)
        folded = deflation.matricise(tensors[0], axes)
        shape = deflation.matrix_shape(kernel.shape, axes)
        np.testing.assert_array_equal(ops.convert_to_numpy(folded), moved.reshape(shape))
        expected = np.transpose(reference(moved, len(axes))[0], np.argsort(order))
        assert relative_error(ops.convert_to_numpy(rest), expected, kernel) <= 1e-5


def test_float64_stays_float64():
    gradient = np.random.default_rng(0).standard_normal((36, 6))
    with precision.double_precision():
        rest, _ = deflation.deflate(ops.convert_to_tensor(gradient, dtype="float64"))
        assert keras.backend.standardize_dtype(rest.dtype) == "float64"
        rest = ops.convert_to_numpy(rest)
    u, s, vt = np.linalg.svd(gradient)
    expected = gradient - s[0] * np.outer(u[:, 0], vt[0])
    # Below what float32 holds; the bound on the error of the direction is that of all types.
    assert relative_error(rest, expected, gradient) <= 1e-6
    np.testing.assert_allclose(rest @ vt[0], 0, atol=1e-5)


def test_axes_that_a_gradient_does_not_have_are_refused():
    for axes in ((3,), (-4,), (1, -2)):
        with pytest.raises(
            ValueError, match=r"output_axes must be different axes.*shape=\(3, 4, 5\)"
        ):
            deflation.matrix_shape((3, 4, 5), axes)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"output_axes=1.*shape=\(3,\)"):
        deflation.matricise(ops.ones((3,)))


@settings(max_examples=25)
@given(
    shape=st.sampled_from([(6, 6), (17, 40), (40, 17)]),
    factor=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_algebra(shape, factor, seed):
    gradient = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    rest, removed = deflate(gradient)
    energy = np.sum(gradient.astype("float64") ** 2)
    kept = np.sum(rest.astype("float64") ** 2)
    assert np.sum(gradient * rest, dtype="float64") == pytest.approx(kept, abs=1e-5 * energy)
    assert kept == pytest.approx(energy * (1 - removed), abs=1e-5 * energy)
    scaled = deflate(np.float32(-factor) * gradient)[0]
    assert relative_error(scaled / -factor, rest, gradient) <= 2e-5
    assert relative_error(deflate(np.ascontiguousarray(gradient.T))[0].T, rest, gradient) <= 2e-5
    # Layouts of kernels differ by such an order of rows.
    order = np.random.default_rng(seed).permutation(len(gradient))
    assert relative_error(deflate(gradient[order])[0], rest[order], gradient) <= 2e-5
