"""Curvature against closed forms, finite differences in NumPy float64, and dense matrices."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import LIF
from keras_dep import GaussNewton
from keras_dep import Hessian
from keras_dep import MeanLogitCrossentropy
from keras_dep import _backend
from keras_dep._backend.workers import Processes
from keras_dep._backend.workers import Workers
from keras_dep.layers import Folded

FEATURES, HIDDEN, CLASSES, EXAMPLES = 3, 4, 3, 10


def dense_matrix(product, dimension, dtype="float32"):
    return np.stack([ops.convert_to_numpy(product(row)) for row in np.eye(dimension, dtype=dtype)])


def data():
    draw = np.random.default_rng(1)
    x = draw.standard_normal((EXAMPLES, FEATURES)).astype("float32")
    return x, draw.integers(0, CLASSES, EXAMPLES).astype("int32")


def smooth_network():
    keras.utils.set_random_seed(2)
    body = [layers.Dense(HIDDEN, activation="tanh"), layers.Dense(CLASSES)]
    return keras.Sequential([keras.Input((FEATURES,)), *body])


@pytest.fixture(scope="module")
def smooth():
    model = smooth_network()
    loss = MeanLogitCrossentropy()
    return model, Hessian(model, loss), GaussNewton(model, loss)


def logits(flat, x):
    """The smooth network written out."""
    first, second = FEATURES * HIDDEN, FEATURES * HIDDEN + HIDDEN
    third = second + HIDDEN * CLASSES
    hidden = np.tanh(x @ flat[:first].reshape(FEATURES, HIDDEN) + flat[first:second])
    return hidden @ flat[second:third].reshape(HIDDEN, CLASSES) + flat[third:]


def probabilities(outputs):
    p = np.exp(outputs - outputs.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def differences(function, at, step=1e-4):
    """Central differences, along a new last axis."""
    moves = step * np.eye(len(at))
    return np.stack([(function(at + m) - function(at - m)) / (2 * step) for m in moves], axis=-1)


def expected(model):
    """`(gradient, Hessian, Gauss-Newton)` of the smooth network by differences alone."""
    x, y = data()
    x = x.astype("float64")
    flat = np.concatenate([weight.ravel() for weight in model.get_weights()]).astype("float64")

    def value(flat):
        return -np.mean(np.log(probabilities(logits(flat, x))[np.arange(EXAMPLES), y]))

    def gradient(flat):
        return differences(value, flat)

    jacobian = differences(lambda flat: logits(flat, x), flat)
    p = probabilities(logits(flat, x))
    bends = np.eye(CLASSES) * p[:, None] - p[:, :, None] * p[:, None]
    gauss_newton = np.einsum("ncw,ncd,ndv->wv", jacobian, bends, jacobian) / EXAMPLES
    return gradient(flat), differences(gradient, flat), gauss_newton


def test_all_eigenvalues_equal_those_by_finite_differences(smooth):
    model, *operators = smooth
    gradient, *matrices = expected(model)
    x, y = data()
    found = ops.convert_to_numpy(operators[0].gradient(x, y))
    np.testing.assert_allclose(found, gradient, atol=1e-5)
    for operator, matrix in zip(operators, matrices):
        found = dense_matrix(operator.at(x, y), operator.dimension)
        np.testing.assert_allclose(found, matrix, atol=1e-4 * np.abs(matrix).max())
        values = np.linalg.eigvalsh(matrix)
        np.testing.assert_allclose(
            np.linalg.eigvalsh(found.astype("float64")), values, atol=1e-4 * np.abs(values).max()
        )
        largest = operator.spectrum(x, y, count=5, tolerance=1e-5)
        wanted = values[np.argsort(-np.abs(values))][:5]
        np.testing.assert_allclose(largest.eigenvalues, wanted, rtol=1e-3)
    assert np.abs(matrices[0] - matrices[1]).max() > 1e-2


def test_parts_weigh_by_their_size(smooth):
    x, y = data()
    for operator in smooth[1:]:
        vector = ops.convert_to_tensor(np.linspace(-1, 1, operator.dimension, dtype="float32"))
        whole, parted = operator.at(x, y)(vector), operator.at(x, y, batch_size=4)(vector)
        np.testing.assert_allclose(*map(ops.convert_to_numpy, (whole, parted)), atol=1e-5)
        np.testing.assert_allclose(
            ops.convert_to_numpy(operator.gradient(x, y)),
            ops.convert_to_numpy(operator.gradient(x, y, batch_size=4)),
            atol=1e-6,
        )


@pytest.mark.parametrize(
    "total, sizes",
    [(1, [1]), (16, [16]), (20, [10, 10]), (128, [16] * 8), (1000, [125] * 8)],
)
def test_large_batches_are_looked_at_in_even_parts(smooth, total, sizes):
    rows = np.zeros((total, FEATURES), "float32")
    shares, parts, *_ = zip(*smooth[1]._parts(rows, rows[:, 0], None))
    assert [len(part) for part in parts] == sizes
    assert list(shares) == pytest.approx([size / total for size in sizes])


def test_parts_of_a_sum_add_up():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    loss = keras.losses.MeanSquaredError(reduction="sum")
    x, y = np.array([[1.0], [2.0], [3.0]], "float32"), np.zeros((3, 1), "float32")
    found = Hessian(model, loss).spectrum(x, y, batch_size=2)
    assert found.eigenvalues == pytest.approx([28.0])


def test_blocks_and_weights(smooth):
    model, hessian, _ = smooth
    x, y = data()
    matrix = dense_matrix(hessian.at(x, y), hessian.dimension)
    paths = list(hessian.shapes)
    kernels = [index for index, path in enumerate(paths) if "kernel" in path]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in hessian.shapes.values())])
    inside = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in kernels])
    product, dimension = hessian.block(hessian.at(x, y), "kernel")
    assert dimension == len(inside)
    found = dense_matrix(product, dimension)
    np.testing.assert_allclose(found, matrix[np.ix_(inside, inside)], atol=1e-6)
    values = np.linalg.eigvalsh(found.astype("float64"))
    top = hessian.spectrum(x, y, count=1, tolerance=1e-5, within="kernel")
    assert top.radius == pytest.approx(np.abs(values).max(), rel=1e-4)
    flat = ops.convert_to_tensor(np.concatenate([w.ravel() for w in model.get_weights()]))
    for part, weight in zip(hessian.by_weight(flat).values(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(part), weight)
    with pytest.raises(ValueError, match="within must match the path of a weight; received 'conv"):
        hessian.block(product, "conv")


def test_double_precision(smooth):
    model, hessian, _ = smooth
    x, y = data()
    double = Hessian(model, MeanLogitCrossentropy(), dtype="float64")
    found = dense_matrix(double.at(x, y), double.dimension, "float64")
    np.testing.assert_allclose(found, found.T, atol=1e-14)
    np.testing.assert_allclose(found, expected(model)[1], atol=1e-6)
    assert double.spectrum(x, y, count=3, tolerance=1e-12).residuals.max() < 1e-11
    # Its copy follows the weights.
    weights = model.get_weights()
    model.set_weights([weight / 2 for weight in weights])
    halved = double.spectrum(x, y, count=1).radius
    assert halved == pytest.approx(hessian.spectrum(x, y, count=1).radius, rel=1e-2)
    model.set_weights(weights)
    assert abs(halved - double.spectrum(x, y, count=1).radius) > 0.01


def test_spiking_network_is_symmetric_and_lanczos_finds_its_extremes():
    body = [layers.Dense(6), LIF(2, surrogate="arctan"), layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((FEATURES,)), Folded(2), *body])
    x, y = data()
    before = model.get_weights()
    hessian = Hessian(model, MeanLogitCrossentropy())
    matrix = dense_matrix(hessian.at(x, y), hessian.dimension)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5 * np.abs(matrix).max())
    values = np.linalg.eigvalsh(matrix.astype("float64"))
    wanted = values[np.argsort(-np.abs(values))][:3]
    found = hessian.spectrum(x, y, count=3, tolerance=1e-4)
    np.testing.assert_allclose(found.eigenvalues, wanted, rtol=1e-3, atol=1e-4)
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_linear_network_of_two_inputs_in_inference_mode():
    """Least squares' own matrix, of stored statistics and without dropout, over uneven parts."""
    one, other = keras.Input((2,)), keras.Input((1,))
    normalization = layers.BatchNormalization(center=False, scale=False)
    joined = layers.Concatenate()([layers.Dropout(0.5)(normalization(one)), other])
    model = keras.Model([one, other], layers.Dense(1, use_bias=False)(joined))
    normalization.moving_mean.assign([0.5, -1.0])
    normalization.moving_variance.assign([4.0, 0.25])
    x, y = data()
    before = [ops.convert_to_numpy(variable.value) for variable in model.variables]
    scale = np.sqrt(np.array([4.0, 0.25]) + normalization.epsilon)
    design = np.hstack([(x[:, :2] - [0.5, -1.0]) / scale, x[:, 2:]])
    operator = Hessian(model, "mse")
    product = operator.at([x[:, :2], x[:, 2:]], y[:, None].astype("float32"), batch_size=4)
    found = dense_matrix(product, operator.dimension)
    np.testing.assert_allclose(found, 2 / EXAMPLES * design.T @ design, rtol=1e-4, atol=1e-5)
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), value)


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
def test_a_loss_without_curvature(kind):
    """A linear network under a linear loss."""
    model = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(2)])
    x, y = data()
    operator = kind(model, lambda y, outputs: ops.mean(outputs))
    assert operator.spectrum(x, y).eigenvalues.tolist() == [0.0] * 5
    assert operator.spectrum(x, y).leading_share == 0


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
def test_single_weight_and_frozen_layer(kind):
    frozen = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(3.0))
    frozen.trainable = False
    free = layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((1,)), free, frozen])
    x, y = np.array([[1.0], [2.0]], "float32"), np.ones((2, 1), "float32")
    operator = kind(model, "mse")
    assert operator.dimension == 1
    # Twice the mean of (3 x)^2.
    assert operator.spectrum(x, y).eigenvalues == pytest.approx([45.0])


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_products_are_of_the_weights_as_at_the_call_of_at(kind, dtype):
    """Side by side, whole and in parts, also after the buffers of the weights were given away."""
    model, (x, y) = smooth_network(), data()
    operator = kind(model, MeanLogitCrossentropy(), dtype=dtype)
    vector = np.linspace(-1, 1, operator.dimension, dtype=operator.dtype)
    old, options = model.get_weights(), [{}, {"batch_size": 4}]
    products = [operator.at(x, y, **option) for option in options]
    wanted = [ops.convert_to_numpy(product(vector)) for product in products]
    products += [operator.at(x, y, **option) for option in options]
    model.compile(keras.optimizers.SGD(1.0), MeanLogitCrossentropy())
    model.fit(x, y, verbose=0)
    moved = [operator.at(x, y, **option) for option in options]
    for product, expected in zip(products, 2 * wanted, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(product(vector)), expected)
    new = [ops.convert_to_numpy(product(vector)) for product in moved]
    assert np.abs(new[0] - wanted[0]).max() > 1e-2
    np.testing.assert_allclose(new[0], new[1], atol=1e-5)
    model.set_weights(old)
    np.testing.assert_array_equal(ops.convert_to_numpy(products[0](vector)), wanted[0])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a module of torch")
@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
def test_a_torch_module_within_a_layer(kind):
    """Least squares of two outputs; its parameters are read past Keras' variables."""
    import torch

    module = torch.nn.Linear(FEATURES, 2, bias=False)
    model = keras.Sequential(
        [keras.Input((FEATURES,)), layers.TorchModuleWrapper(module, output_shape=(None, 2))]
    )
    x, _ = data()
    product = kind(model, "mse").at(x, np.zeros((EXAMPLES, 2), "float32"), batch_size=4)
    model.set_weights([10 * weight for weight in model.get_weights()])
    wanted = np.kron(np.eye(2), x.T @ x / EXAMPLES)
    np.testing.assert_allclose(dense_matrix(product, 2 * FEATURES), wanted, atol=1e-5)
    assert type(module.weight) is torch.nn.Parameter


class Subclassed(keras.Model):
    """Without an argument `training`, and with two layers of one name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(2, name="same"), layers.Dense(1, name="same")
        self.scaled, self.dropout = layers.BatchNormalization(), layers.Dropout(0.5)

    def call(self, inputs):
        return self.dropout(self.scaled(self.second(self.first(inputs))))


class Told(keras.Model):
    """The same with that argument."""

    def __init__(self, model):
        super().__init__()
        self.layers_in_turn = [model.first, model.second, model.scaled, model.dropout]
        self.built = True

    def call(self, inputs, training=None):
        for layer in self.layers_in_turn[:2]:
            inputs = layer(inputs)
        for layer in self.layers_in_turn[2:]:
            inputs = layer(inputs, training=training)
        return inputs


def test_a_subclass_without_an_argument_training():
    model, (x, _) = Subclassed(), data()
    model(x)
    y = np.ones((EXAMPLES, 1), "float32")
    found, wanted = Hessian(model, "mse"), Hessian(Told(model), "mse")
    assert found.dimension == wanted.dimension == len(ops.convert_to_numpy(found.gradient(x, y)))
    one, other = (dense_matrix(each.at(x, y), each.dimension) for each in (found, wanted))
    np.testing.assert_array_equal(one, other)
    assert [name for name in found.shapes if "same/kernel" in name] == [
        found.weights[0].path,
        f"{found.weights[2].path}_1",
    ]


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_penalties_are_counted_on_request(reduction):
    """Against the quadratic form of least squares with penalties of weights and activities."""
    first = layers.Dense(
        1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.5), activity_regularizer="l2"
    )
    model = keras.Sequential([keras.Input((FEATURES,)), first])
    x, _ = data()
    y = np.ones((EXAMPLES, 1), "float32")
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    plain = 2 * x.T @ x / (EXAMPLES if reduction != "sum" else 1)
    # Keras divides an activity's penalty by the batch's size.
    penalised = plain + 2 * 0.5 * np.eye(FEATURES) + 2 * 0.01 * x.T @ x / EXAMPLES
    for wanted, options in ((plain, {}), (penalised, {"regularizers": True})):
        hessian = Hessian(model, loss, **options)
        for size in (None, 4):
            found = dense_matrix(hessian.at(x, y, batch_size=size), FEATURES)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
            slope = ops.convert_to_numpy(hessian.gradient(x, y, batch_size=size))
            weights = model.get_weights()[0]
            right = wanted @ weights - 2 * x.T @ y / (EXAMPLES if reduction != "sum" else 1)
            np.testing.assert_allclose(slope, right[:, 0], rtol=1e-4, atol=1e-4)


class Third(Processes):
    """One of three processes, whose sum over them is its own term."""

    def total(self, tensor):
        return tensor


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
@pytest.mark.parametrize("examples, batch_size", [(EXAMPLES, None), (EXAMPLES, 2), (2, None)])
def test_the_terms_of_processes_add_up_to_the_whole(kind, examples, batch_size, smooth):
    """Also where there are fewer examples than processes."""
    model, _, _ = smooth
    x, y = (each[:examples] for each in data())
    operator = kind(model, MeanLogitCrossentropy())
    vector = np.linspace(-1, 1, operator.dimension).astype("float32")

    def found():
        product = operator.at(x, y, batch_size)(vector)
        gradient = operator.gradient(x, y, batch_size)
        return np.stack([ops.convert_to_numpy(each) for each in (product, gradient)])

    whole, terms = found(), []
    for rank in range(3):
        _backend.use_workers(Third(engine="ddp", rank=rank, count=3))
        try:
            terms.append(found())
        finally:
            _backend.use_workers(Workers())
    np.testing.assert_allclose(sum(terms), whole, rtol=1e-4, atol=1e-6)
    assert [bool(each.any()) for each in terms] == [True, True, examples > 2]


def test_a_changed_setting_and_a_frozen_layer():
    model = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(2), layers.LeakyReLU(0.5)])
    x, _ = data()
    y = np.zeros((EXAMPLES, 2), "float32")

    def matrix(operator):
        return dense_matrix(operator.at(x, y), 8)

    for kind in (Hessian, GaussNewton):
        model.layers[1].negative_slope = 0.5
        operator = kind(model, "mse")
        before = matrix(operator)
        model.layers[1].negative_slope = 0.1
        model.layers[0].trainable = False
        after = matrix(operator)
        model.layers[0].trainable = True
        assert np.abs(before - after).max() > 0.05
        np.testing.assert_array_equal(after, matrix(kind(model, "mse")))


def test_no_second_derivative():
    """The fused loss of TensorFlow and torch has none; JAX' is a program of its own."""
    model = keras.Sequential([keras.Input((4, 3)), layers.Dense(3)])
    x, y = np.ones((2, 4, 3), "float32"), np.array([[1, 2], [2, 1]])
    hessian = Hessian(model, keras.losses.CTC())
    if keras.backend.backend() == "jax":
        assert np.isfinite(hessian.spectrum(x, y, count=1).radius)
        return
    with pytest.raises(ValueError, match="must have a second derivative; .*ctc_loss") as raised:
        hessian.spectrum(x, y)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an operation of TensorFlow")
def test_what_tensorflow_takes_for_a_constant():
    import tensorflow as tf

    rounded = layers.Lambda(tf.quantization.fake_quant_with_min_max_args, name="rounded")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), rounded, layers.Dense(1)])
    x, y = np.ones((2, 3), "float32"), np.ones((2, 1), "float32")
    with pytest.raises(ValueError, match="none of gradient_tape/.*rounded.*FakeQuant"):
        Hessian(model, "mse").spectrum(x, y)


def test_bad_input(smooth):
    _, hessian, _ = smooth
    x, y = data()
    with pytest.raises(ValueError, match="not finite"):
        hessian.spectrum(np.full_like(x, np.nan), y)
    with pytest.raises(ValueError, match="batch_size must be at least 1, or None; received 0"):
        hessian.at(x, y, batch_size=0)
    with pytest.raises(ValueError, match="at least one example"):
        hessian.at(x[:0], y[:0])
    bare = keras.Sequential([keras.Input((4,)), layers.ReLU()], name="bare")
    with pytest.raises(ValueError, match="'bare' has no trainable weights"):
        Hessian(bare, MeanLogitCrossentropy())
