"""Wrappers of one's own are subclasses of a few lines."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.optimizers import GradientTransform
from keras_dep.optimizers import MatrixTransform
from tests.optimizers.test_optimizers import apply
from tests.optimizers.test_optimizers import arrays
from tests.optimizers.test_optimizers import data

SHAPES = [(6, 5), (5,), (5, 4)]


class Clip(GradientTransform):
    def transform_gradient(self, gradient, variable):
        return ops.clip(gradient, -1.0, 1.0)


@keras.saving.register_keras_serializable("tests")
class Noise(GradientTransform):
    def build_state(self, variables):
        self.generator = self.add_seed_generator(3)
        self.sums = [self.add_variable_from_reference(v, "sum") for v in variables]

    def transform_gradient(self, gradient, variable):
        noise = keras.random.normal(gradient.shape, seed=self.generator)
        self.sums[self.index_of(variable)].assign_add(noise)
        return gradient + noise


class Rows(MatrixTransform):
    RECORDS = ("length",)

    def transform_matrices(self, gradients, output_axes):
        return [(gradient * 2, ops.norm(gradient)) for gradient in gradients]


def test_one_gradient_at_a_time():
    gradients = arrays(1, SHAPES)
    variables = [keras.Variable(np.zeros(shape, "float32")) for shape in SHAPES]
    tensors = [ops.convert_to_tensor(3 * gradient) for gradient in gradients]
    Clip(keras.optimizers.SGD(1.0)).apply([tensors[0], None, tensors[2]], variables)
    for index, variable in enumerate(variables):
        expected = 0 if index == 1 else -np.clip(3 * gradients[index], -1, 1)
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-6)


def test_a_subclass_without_a_transform_is_refused():
    for kind, name in ((GradientTransform, "transform_gradient"), (MatrixTransform, "matrices")):
        with pytest.raises(NotImplementedError, match=name):
            apply(
                kind(keras.optimizers.SGD(1.0)), arrays(1), [keras.Variable(w) for w in arrays(0)]
            )


def test_variables_keep_their_index_in_another_order():
    variables = [keras.Variable(np.zeros(shape, "float32")) for shape in SHAPES]
    optimizer = Noise(keras.optimizers.SGD(1.0))
    optimizer.build(variables)
    assert [optimizer.index_of(variable) for variable in reversed(variables)] == [2, 1, 0]
    zeros = [ops.zeros(shape) for shape in reversed(SHAPES)]
    optimizer.apply(zeros, list(reversed(variables)))
    for total, variable in zip(optimizer.sums, variables):
        assert ops.convert_to_numpy(total).any()
        np.testing.assert_allclose(
            ops.convert_to_numpy(total), -ops.convert_to_numpy(variable), atol=1e-6
        )


def test_random_draws_and_state_continue_after_loading(tmp_path):
    x, y = data()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Flatten()])
    model.add(keras.layers.Dense(int(y.max()) + 1))
    model.compile(Noise(keras.optimizers.SGD(0.1)), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=64, epochs=1, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    other = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, other):
        each.fit(x, y, batch_size=64, epochs=1, shuffle=False, verbose=0)
    for one, two in zip(model.optimizer.variables, other.optimizer.variables):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))
    sums = [ops.convert_to_numpy(total) for total in model.optimizer.sums]
    assert all(total.any() for total in sums)


def test_matrices_and_their_records():
    gradients = arrays(1, SHAPES)
    variables = [keras.Variable(np.zeros(shape, "float32")) for shape in SHAPES]
    optimizer = Rows(keras.optimizers.SGD(1.0))
    optimizer.build(variables)
    tensors = [ops.convert_to_tensor(gradient) for gradient in gradients]
    optimizer.apply([*tensors[:2], None], variables)
    for variable, expected in zip(variables, (-2 * gradients[0], -gradients[1], 0)):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-6)
    assert optimizer.projected_paths == (variables[0].path, variables[2].path)
    np.testing.assert_allclose(
        ops.convert_to_numpy(optimizer.length), [np.linalg.norm(gradients[0]), 0], rtol=1e-5
    )
