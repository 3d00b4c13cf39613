"""Each private door of Keras and the frameworks still opens: a failure names what has moved."""

import contextlib
import importlib.metadata

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_dep
from keras_dep import _backend
from keras_dep._internal import keras_internals


@contextlib.contextmanager
def door(name, package="keras"):
    try:
        yield
    except Exception as error:
        version = importlib.metadata.version(package)
        pytest.fail(f"{package} {version} has moved {name}: mend keras_internals ({error!r})")


def built(optimizer, *variables):
    optimizer.build(list(variables))
    return optimizer


def test_failures_name_the_door_and_the_version():
    expected = f"keras {keras.__version__} has moved _door: mend keras_internals .*gone"
    with pytest.raises(pytest.fail.Exception, match=expected), door("_door"):
        raise AttributeError("gone")


def test_all_layers():
    inner = keras.Sequential([layers.Dense(2), layers.ReLU()])
    model = keras.Sequential([keras.Input((4, 3)), inner, layers.TimeDistributed(layers.Dense(1))])
    with door("Layer._flatten_layers"):
        found = keras_internals.all_layers(model)
        assert found[0] is model and {inner, *inner.layers} < set(found)
        assert keras_internals.all_layers(model, include_self=False) == found[1:]
        assert len(set(map(id, found))) == len(found)


def test_own_weights():
    layer = layers.BatchNormalization()
    layer.build((None, 2))
    with door("Layer._trainable_variables and _non_trainable_variables"):
        assert {id(weight) for weight in keras_internals.own_weights(layer)} == {
            id(weight) for weight in layer.variables
        }
    assert keras_internals.own_weights(layers.Dense.__new__(layers.Dense)) == ()


def test_set_path():
    variable = keras.Variable([1.0], name="a")
    with door("Variable._path and _name"):
        keras_internals.set_path(variable, "net/0/weight")
        assert (variable.path, variable.name) == ("net/0/weight", "weight")


def test_lambda_output_shape():
    with door("Lambda._output_shape"):
        assert keras_internals.lambda_output_shape(layers.Lambda(abs, output_shape=(3,))) == (3,)


def test_origin():
    inputs, dense = keras.Input((3,)), layers.Dense(2)
    first, second = dense(inputs), dense(layers.ReLU()(inputs))
    with door("KerasTensor._keras_history and Operation._inbound_nodes"):
        assert keras_internals.origin(first) == (dense, [inputs], 0)
        operation, (source,), _ = keras_internals.origin(second)
        assert operation is dense and source is not inputs
        parts = ops.split(inputs, 3, axis=-1)
        assert [keras_internals.origin(part).output for part in parts] == [0, 1, 2]
        assert keras_internals.is_symbolic(first)
    values = ops.ones((1, 3))
    assert keras_internals.origin(values) is None and not keras_internals.is_symbolic(values)


def test_calls():
    class Seeing(layers.Layer):
        def call(self, inputs):
            seen.append((keras_internals.entry_layer(), keras_internals.in_stateless_scope()))
            return inputs

    seen, model = [], keras.Sequential([Seeing()])
    model(ops.ones((1, 2)))
    with keras.StatelessScope():
        model(ops.ones((1, 2)))
    with door("keras.src.backend.common.global_state, current_call_ctx or stateless_scope"):
        assert seen[-2:] == [(model, False), (model, True)]
        assert keras_internals.entry_layer() is None and not keras_internals.in_stateless_scope()


def test_narrowed_dtypes():
    with door("keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE"):
        # TensorFlow keeps doubles.
        single = "float64" if keras.backend.backend() == "tensorflow" else "float32"
        assert keras_internals.narrowed_dtypes()["float64"] == single
        with _backend.double_precision():
            assert keras_internals.narrowed_dtypes()["float64"] == "float64"
            assert keras.backend.result_type("float64", "float32") == "float64"


def test_variables_of_optimizers():
    one, other = (keras.Variable(np.ones(2, "float32"), name=name) for name in ("one", "other"))
    optimizer = built(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), one, other)
    with door("Optimizer._var_key"):
        keys = [keras_internals.variable_key(optimizer, variable) for variable in (one, other)]
        assert len(set(keys)) == 2 and keys[0] == keras_internals.variable_key(optimizer, one)
    with door("Optimizer._trainable_variables"):
        assert [id(v) for v in keras_internals.trained_variables(optimizer)] == [id(one), id(other)]
    with door("Optimizer._variables"):
        found = map(id, keras_internals.own_variables(optimizer))
        assert list(found) == list(map(id, optimizer.variables))
    with door("Optimizer._get_variable_index"):
        assert [keras_internals.variable_index(optimizer, v) for v in (one, other)] == [0, 1]
    optimizer.apply([ops.ones(2), 3 * ops.ones(2)])
    with door("Optimizer._iterations"):
        assert int(keras_internals.call_count(optimizer)) == 1
    with door("Optimizer._accumulated_gradients"):
        for variable, sums in ((one, 1), (other, 3)):
            total = keras_internals.accumulated_gradient(optimizer, variable)
            np.testing.assert_array_equal(ops.convert_to_numpy(total), [sums, sums])
    with door("Optimizer._track_variable"):
        keras_internals.track_variable(optimizer, other)
        assert optimizer.variables[-1] is other


def test_weight_decay():
    one, other = (keras.Variable(np.ones(2, "float32"), name=name) for name in ("one", "other"))
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[other])
    built(optimizer, one, other)
    with door("Optimizer._use_weight_decay"):
        assert keras_internals.decays(optimizer, one)
        assert not keras_internals.decays(optimizer, other)


def test_averages():
    class Wrapper(keras_internals.AveragesOfInner):
        def __init__(self, inner_optimizer):
            self._model_variables_moving_average = "set before there is an inner optimizer"
            self.inner_optimizer = inner_optimizer

    weight = keras.Variable(np.ones(2, "float32"))
    inner = built(keras.optimizers.SGD(0.1, use_ema=True), weight)
    with door("Optimizer._model_variables_moving_average"):
        (average,) = Wrapper(inner)._model_variables_moving_average
        assert average.shape == weight.shape and any(average is v for v in inner.variables)


def test_bookkeeping():
    """`test_compilation.py` has the whole list, by what training changes."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with door("Model._compile_config"):
        assert "_compile_config" in keras_internals.BOOKKEEPING & set(vars(model))


def test_random_states():
    model = keras.Sequential([keras.Input((2,)), layers.Dropout(0.5, seed=7), layers.Dense(1)])
    with door("the path of SeedGenerator.state"):
        (state,) = keras_internals.random_states(model)
        assert ops.convert_to_numpy(state).tolist() == [7, 0]
    assert keras_internals.random_states(keras.Sequential([layers.Dense(1)])) == []


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="a door of torch")
def test_torch():
    import torch

    with door("torch._C._are_functorch_transforms_active", "torch"):
        seen = []

        def program(x):
            seen.append(keras_internals.torch_transforms_active())
            return x.sum()

        program(torch.ones(1))
        torch.func.grad(program)(torch.ones(1))
        assert seen == [False, True]
    with door("torch.utils._triton.has_triton", "torch"):
        assert keras_internals.torch_has_triton() in (True, False)
    with door("torch._dynamo.config.patch", "torch"):
        usual = torch._dynamo.config.recompile_limit
        with keras_internals.torch_programs_up_to(usual + 1):
            assert torch._dynamo.config.recompile_limit == usual + 1
        assert torch._dynamo.config.recompile_limit == usual


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a door of TensorFlow")
def test_tensorflow():
    import tensorflow as tf

    with door("tf.__internal__.distribute.strategy_supports_no_merge_call", "tensorflow"):
        assert not keras_internals.tensorflow_replicas_meet()
        with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
            assert keras_internals.tensorflow_replicas_meet() in (True, False)
    with door("keras.Model._distribute_strategy", "tensorflow"):
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        with strategy.scope():
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        assert keras_internals.tensorflow_strategy(model) is strategy
        with keras_internals.without_tensorflow_strategy(model):
            assert model.distribute_strategy is not strategy
        assert model.distribute_strategy is strategy
    with door("tensorflow.python.distribute.distribute_lib._push_per_thread_mode", "tensorflow"):
        with strategy.scope():
            with keras_internals.outside_tensorflow_strategies():
                assert not tf.distribute.has_strategy()
            assert tf.distribute.get_strategy() is strategy
    with door("tensorflow.compiler.tf2xla.python.xla", "tensorflow"):
        xla = keras_internals.tensorflow_xla()
        assert all(
            hasattr(xla, name) for name in ("dot_general", "DotDimensionNumbers", "PrecisionConfig")
        )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a door of TensorFlow")
def test_functions_of_several_models_are_no_retracing(caplog):
    with door("tf.function._omit_frequent_tracing_warning", "tensorflow"):
        for _ in range(8):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
            hessian = keras_dep.Hessian(model, keras_dep.MeanLogitCrossentropy())
            hessian.gradient(np.ones((2, 2), "float32"), np.zeros(2, "int32"))
        assert "retracing" not in caplog.text


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a door of JAX")
def test_values_of_jax():
    variable = keras.Variable(np.ones(2, "float32"))
    before = variable.value
    with door("keras.Variable._value", "jax"):
        with keras_internals.jax_values([(variable, keras.ops.zeros(2))]):
            assert not np.asarray(variable).any()
            variable.assign(keras.ops.full(2, 3.0))
        assert variable.value is before
        with pytest.raises(KeyError), keras_internals.jax_values([(variable, keras.ops.zeros(2))]):
            raise KeyError
        assert variable.value is before
