"""Each weight of each layer of Keras is folded by what it is, whatever its layer is called."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_dep
from keras_dep import DEP
from keras_dep.deflation import projection
from keras_dep.layers.convolution import Conv2D
from keras_dep.layers.residual import SkipInit
from keras_dep.layers.weight_standardization import ScaledStandardizedConv2D

# Axes of inputs and axes of outputs.
MAP = ((0,), (1,))
CONV = {rank: (tuple(range(rank + 1)), (rank + 1,)) for rank in (1, 2, 3)}
TRANSPOSED = {rank: ((*range(rank), rank + 1), (rank,)) for rank in (1, 2, 3)}
DEPTHWISE = {rank: (tuple(range(rank)), (rank, rank + 1)) for rank in (1, 2)}
HEADS_OUT, HEADS_IN = ((0,), (1, 2)), ((0, 1), (2,))
ATTENTION = [*[HEADS_OUT, None] * 3, HEADS_IN, None]
RECURRENT = [MAP, MAP, None]
LINE, IMAGE, VOLUME, SEQUENCE = (None, 8, 4), (None, 8, 8, 4), (None, 4, 4, 4, 4), (None, 3, 5)
PAIR = ((None, 5, 6), (None, 5, 6))


class Depthwise(layers.DepthwiseConv2D):
    """A user's own."""


class Mixer(layers.Layer):
    """Another, of no type that anybody knows."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(5, 3, shape[-1]), name="bias")
        self.gain = self.add_weight(shape=(shape[-1],), name="kernel")


def adapted(layer, *shape):
    layer.build(*shape)
    layer.enable_lora(3)
    return layer


def plain(kind, *args, **options):
    """A layer that starts at zero: to draw its weights compiles a program for each shape."""
    names = inspect.signature(kind.__init__).parameters
    zeros = dict.fromkeys((name for name in names if name.endswith("_initializer")), "zeros")
    return kind(*args, **{**zeros, **options})


def cases():
    """Layers, what builds them, and of each trainable weight the axes; None: left alone."""
    yield plain(layers.Dense, 40), [(None, 40)], [MAP, None]
    yield (
        plain(layers.EinsumDense, "abc,cde->abde", (None, 3, 4), bias_axes="de"),
        [PAIR[0]],
        [HEADS_OUT, None],
    )
    yield (
        plain(layers.EinsumDense, "abcd,cde->abe", (None, 5), bias_axes="e"),
        [(None, 5, 3, 4)],
        [HEADS_IN, None],
    )
    yield (
        plain(layers.EinsumDense, "abx,yx->aby", (3, 4), bias_axes="y"),
        [SEQUENCE],
        [((1,), (0,)), None],
    )
    # A map of each head: outputs of all heads, as channels of a depthwise kernel.
    yield (
        plain(layers.EinsumDense, "bhd,hde->bhe", (3, 4), bias_axes="he"),
        [SEQUENCE],
        [((1,), (0, 2)), None],
    )
    yield plain(layers.EinsumDense, "bhd,hd->bhd", (3, 5)), [SEQUENCE], [None]
    yield plain(layers.Conv1D, 5, 3), [LINE], [CONV[1], None]
    yield plain(layers.Conv2D, 6, 3, groups=2), [IMAGE], [CONV[2], None]
    yield plain(layers.Conv3D, 5, 2), [VOLUME], [CONV[3], None]
    yield plain(layers.Conv1DTranspose, 5, 3), [LINE], [TRANSPOSED[1], None]
    yield plain(layers.Conv2DTranspose, 5, 3), [IMAGE], [TRANSPOSED[2], None]
    yield plain(layers.Conv3DTranspose, 5, 2), [VOLUME], [TRANSPOSED[3], None]
    yield plain(layers.DepthwiseConv1D, 5, depth_multiplier=2), [LINE], [DEPTHWISE[1], None]
    yield plain(layers.DepthwiseConv2D, 3), [IMAGE], [DEPTHWISE[2], None]
    yield plain(layers.SeparableConv1D, 5, 3), [LINE], [DEPTHWISE[1], CONV[1], None]
    yield plain(layers.SeparableConv2D, 5, 3), [IMAGE], [DEPTHWISE[2], CONV[2], None]
    yield plain(layers.MultiHeadAttention, 3, 4), PAIR, ATTENTION
    yield plain(layers.GroupQueryAttention, 4, 6, 3), PAIR, ATTENTION
    yield plain(layers.Attention, True, "concat"), [list(PAIR)], [None, None]
    yield plain(layers.AdditiveAttention), [list(PAIR)], [None]
    yield plain(layers.SimpleRNN, 5), [SEQUENCE], RECURRENT
    yield plain(layers.SimpleRNNCell, 5), [SEQUENCE], RECURRENT
    yield plain(layers.LSTM, 4), [SEQUENCE], RECURRENT
    yield plain(layers.LSTMCell, 4), [SEQUENCE], RECURRENT
    yield plain(layers.GRU, 4), [SEQUENCE], RECURRENT
    yield plain(layers.GRUCell, 4), [SEQUENCE], RECURRENT
    yield (
        plain(layers.RNN, [plain(layers.GRUCell, 4), plain(layers.LSTMCell, 3)]),
        [SEQUENCE],
        RECURRENT * 2,
    )
    yield plain(layers.Bidirectional, plain(layers.GRU, 4)), [SEQUENCE], RECURRENT * 2
    yield plain(layers.ConvLSTM1D, 3, 3), [(None, 3, 6, 4)], [CONV[1], CONV[1], None]
    yield plain(layers.ConvLSTM2D, 3, 3), [(None, 3, 6, 6, 4)], [CONV[2], CONV[2], None]
    yield plain(layers.ConvLSTM3D, 3, 2), [(None, 3, 4, 4, 4, 4)], [CONV[3], CONV[3], None]
    yield plain(layers.TimeDistributed, plain(layers.Dense, 4)), [SEQUENCE], [MAP, None]
    yield plain(layers.SpectralNormalization, plain(layers.Conv2D, 5, 3)), [IMAGE], [CONV[2], None]
    yield plain(layers.Embedding, 7, 4), [], [MAP]
    yield plain(layers.ReversibleEmbedding, 7, 4, tie_weights=False), [], [MAP, MAP]
    yield plain(layers.STFTSpectrogram, frame_length=8), [(None, 32, 1)], [CONV[1], CONV[1]]
    yield plain(layers.BatchNormalization), [LINE], [None, None]
    yield plain(layers.LayerNormalization, (1, 2)), [LINE], [None, None]
    yield plain(layers.GroupNormalization, 2), [LINE], [None, None]
    yield plain(layers.RMSNormalization, (1, 2)), [LINE], [None]
    yield plain(layers.PReLU), [IMAGE], [None]
    yield adapted(plain(layers.Dense, 6), (None, 8)), None, [None] * 3
    yield adapted(plain(layers.EinsumDense, "ab,bcd->acd", (3, 4)), (None, 8)), None, [None] * 2
    yield adapted(plain(layers.Conv2D, 5, 3), IMAGE), None, [None] * 3
    yield adapted(plain(layers.Embedding, 7, 5)), None, [None] * 2
    yield plain(Depthwise, 3), [IMAGE], [DEPTHWISE[2], None]
    yield Mixer(), [LINE], [((0, 1), (2,)), None]
    yield plain(Conv2D, 5, 3), [IMAGE], [CONV[2], None]
    yield plain(ScaledStandardizedConv2D, 5, 3), [IMAGE], [CONV[2], None, None]
    yield SkipInit(), [IMAGE], [None]
    yield keras_dep.PLIF(2, shared_by="neuron"), [IMAGE], [None]
    # Whose gradient may have rank one: left alone.
    yield plain(layers.Dense, 2), [(None, 40)], [None, None]
    yield plain(layers.MultiHeadAttention, 1, 2), PAIR, [*[None] * 6, None, None]


@pytest.fixture(scope="module")
def built():
    """Pairs of layers and axes, under names that mislead whoever goes by them."""
    found = []
    with keras.name_scope("depthwise_bias_lora_kernel_a"):
        for layer, shapes, axes in cases():
            if shapes is not None:
                layer.build(*shapes)
            assert len(layer.trainable_weights) == len(axes), layer
            found.append((layer, axes))
    return found


def rest_and_share(gradient, axes):
    """The reference: a float64 decomposition of the matrix `inputs x outputs`."""
    order = axes[0] + axes[1]
    rows = int(np.prod([gradient.shape[axis] for axis in axes[0]]))
    moved = np.transpose(gradient.astype("float64"), order)
    u, s, vt = np.linalg.svd(moved.reshape(rows, -1), full_matrices=False)
    component = s[0] * np.outer(u[:, 0], vt[0]).reshape(moved.shape)
    return gradient - np.transpose(component, np.argsort(order)), s[0] ** 2 / np.sum(s**2)


def numpy_components(*matrices):
    """In place of `leading_components`, which would be compiled for every shape."""
    found = []
    for matrix in map(ops.convert_to_numpy, matrices):
        u, s, vt = np.linalg.svd(matrix.astype("float64"), full_matrices=False)
        parts = (s[0] * u[:, :1], vt[:1], s[0] ** 2 / np.sum(s**2), s[0])
        found.append([ops.convert_to_tensor(part, dtype="float32") for part in parts])
    return found


def test_every_weight_loses_the_leading_component_of_its_own_matrix(built, monkeypatch):
    monkeypatch.setattr(projection, "leading_components", numpy_components)
    draw = np.random.default_rng(0)
    weights = [weight for layer, _ in built for weight in layer.trainable_weights]
    wanted = [axes for _, each in built for axes in each]
    kinds = [type(layer).__name__ for layer, each in built for _ in each]
    before = [ops.convert_to_numpy(weight) for weight in weights]
    gradients = [draw.standard_normal(weight.shape).astype("float32") for weight in weights]
    optimizer = DEP(keras.optimizers.SGD(1.0))
    with pytest.warns(UserWarning, match="with a side of 1 or 2"):
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients], weights)
    assert len(optimizer.projected_paths) == sum(axes is not None for axes in wanted)
    shares = iter(ops.convert_to_numpy(optimizer.removed_energy))
    for kind, weight, axes, old, gradient in zip(kinds, weights, wanted, before, gradients):
        expected, share = (gradient, None) if axes is None else rest_and_share(gradient, axes)
        step = old - ops.convert_to_numpy(weight)
        error = np.linalg.norm(step - expected) / np.linalg.norm(gradient)
        assert error <= 1e-5, (kind, weight.path)
        if axes is not None:
            assert next(shares) == pytest.approx(share, abs=1e-5), (kind, weight.path)
        weight.assign(old)


def test_biases_and_gains_stay_out_where_matrices_of_rank_one_do_not(built):
    slight = built[-2:]
    weights = [weight for layer, _ in built for weight in layer.trainable_weights]
    optimizer = DEP("sgd", rank_one="remove")
    optimizer.build(weights)
    kernels = [w for layer, _ in slight for w in layer.trainable_weights if w.name == "kernel"]
    kept = DEP("sgd", exclude=kernels)
    kept.build(weights)
    assert len(kernels) == 5
    assert set(optimizer.projected_paths) == {*kept.projected_paths, *(w.path for w in kernels)}


def test_the_table_has_every_layer_of_keras_that_makes_weights(built):
    made = {
        kind
        for kind in vars(layers).values()
        if isinstance(kind, type)
        and any(
            "self.add_weight(" in inspect.getsource(base)
            for base in kind.__mro__
            if base.__module__.startswith("keras.") and base not in (layers.Layer, object)
        )
    }
    # The first trains none; the others hold what another library makes, folded by its shape.
    made -= {layers.Normalization, layers.JaxLayer, layers.FlaxLayer}
    assert len(made) > 30
    assert made <= {type(layer) for layer, _ in built}, "decide what its weights are"


def test_constants_of_quantisation_are_left_alone():
    layer = layers.Dense(6)
    layer.build((None, 8))
    layer.quantize("float8")
    optimizer = DEP("sgd", rank_one="remove", output_axes={"hist": (0,)})
    optimizer.build(layer.trainable_weights)
    assert len(layer.trainable_weights) > 5
    assert optimizer.projected_paths == (layer.kernel.path,)


def test_a_variable_of_no_layer_is_folded_by_its_shape_whatever_it_is_called():
    shapes = [(3, 3, 4, 5), (4, 5), (5,), ()]
    variables = [keras.Variable(np.ones(shape), name="depthwise_bias") for shape in shapes]
    optimizer = DEP("sgd")
    optimizer.build(variables)
    assert [entry.matrix for entry in optimizer._entries] == [(36, 5), (4, 5), None, None]


def test_output_axes_decide_for_layers_of_ones_own(built, monkeypatch):
    monkeypatch.setattr(projection, "leading_components", numpy_components)
    layer = next(layer for layer, _ in built if isinstance(layer, Mixer))
    gradient = np.random.default_rng(0).standard_normal(layer.weight.shape).astype("float32")
    before = ops.convert_to_numpy(layer.weight)
    for axes, expected in {
        (0,): ((1, 2), (0,)),
        2: ((0,), (1, 2)),
        (0, -1): ((1,), (0, 2)),
    }.items():
        optimizer = DEP(keras.optimizers.SGD(1.0), output_axes={"mixer.*/bias$": axes})
        optimizer.apply([ops.convert_to_tensor(gradient)], [layer.weight])
        step = before - ops.convert_to_numpy(layer.weight)
        np.testing.assert_allclose(step, rest_and_share(gradient, expected)[0], atol=1e-5)
        layer.weight.assign(before)
    with pytest.raises(ValueError, match=r"received \(3,\) for .*bias of shape \(5, 3, 4\)"):
        DEP("sgd", output_axes={"bias": (3,)}).build([layer.weight])


def test_names_of_models_change_nothing():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((4, 6, 6, 3)).astype("float32")
    y = draw.standard_normal((4, 8, 8, 4)).astype("float32")

    def network(name):
        inputs = keras.Input((6, 6, 3))
        block = keras.Sequential([layers.Conv2D(5, 3, name="kernel")], name=name)
        outputs = layers.DepthwiseConv2D(3, name="block1a_dwconv")(block(inputs))
        return keras.Model(inputs, layers.Conv2DTranspose(4, 7, name=f"{name}_2")(outputs))

    plain, deflated = network("plain"), network("depthwise")
    deflated.set_weights(plain.get_weights())
    before = plain.get_weights()
    plain.compile(keras.optimizers.SGD(1.0), "mse")
    deflated.compile(DEP(keras.optimizers.SGD(1.0)), "mse")
    for model in (plain, deflated):
        model.train_on_batch(x, y)
    gradients = [old - new for old, new in zip(before, plain.get_weights())]
    steps = [old - new for old, new in zip(before, deflated.get_weights())]
    folds = [CONV[2], None, DEPTHWISE[2], None, TRANSPOSED[2], None]
    for gradient, step, axes in zip(gradients, steps, folds):
        expected = gradient if axes is None else rest_and_share(gradient, axes)[0]
        assert np.linalg.norm(step - expected) <= 1e-4 * np.linalg.norm(gradient)
