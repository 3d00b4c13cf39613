"""Wrappers against plain-NumPy updates, and the duties of a Keras optimizer."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DEP
from keras_dep import CoupledWeightDecay
from tests.support.native import JIT

SHAPES = ((6, 5), (5,), (5, 3), (3,))


def project(gradient):
    if gradient.ndim < 2 or 1 in gradient.shape:
        return gradient
    u, s, vt = np.linalg.svd(gradient.astype("float64"), full_matrices=False)
    return gradient - s[0] * np.outer(u[:, 0], vt[0])


def arrays(seed, shapes=SHAPES):
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(shape).astype("float32") for shape in shapes]


def apply(optimizer, gradients, variables):
    tensors = [ops.convert_to_tensor(gradient) for gradient in gradients]
    optimizer.apply(tensors, variables)


def momentum_reference(weights, steps, rate, momentum, decay):
    velocity = [np.zeros_like(weight) for weight in weights]
    for gradients in steps:
        for i, gradient in enumerate(gradients):
            velocity[i] = momentum * velocity[i] - rate * (project(gradient) + decay * weights[i])
            weights[i] = weights[i] + velocity[i]
    return weights


def small_model(units=4):
    return keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(units)]
    )


def data(count=64, units=4):
    draw = np.random.default_rng(0)
    return (
        draw.standard_normal((count, 8)).astype("float32"),
        draw.integers(0, units, count).astype("int32"),
    )


def compiled_model(optimizer, **options):
    model = small_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, **options)
    return model


def test_five_steps_equal_numpy_with_momentum_and_coupled_decay():
    weights = arrays(0)
    variables = [keras.Variable(weight) for weight in weights]
    optimizer = DEP(CoupledWeightDecay(keras.optimizers.SGD(0.1, momentum=0.9), 0.01))
    steps = [arrays(seed) for seed in range(1, 6)]
    for gradients in steps:
        apply(optimizer, gradients, variables)
    expected = momentum_reference(weights, steps, 0.1, 0.9, 0.01)
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), value, atol=1e-5)


def test_every_door_projects_exactly_once():
    weights, gradients = arrays(0), arrays(1)
    tensors = [ops.convert_to_tensor(gradient) for gradient in gradients]
    expected = [w - 0.5 * project(g) for w, g in zip(weights, gradients)]

    def check(values):
        for value, wanted in zip(values, expected):
            np.testing.assert_allclose(ops.convert_to_numpy(value), wanted, atol=1e-5)

    variables = [keras.Variable(weight) for weight in weights]
    DEP(keras.optimizers.SGD(0.5)).apply(tensors, variables)
    check(variables)
    variables = [keras.Variable(weight) for weight in weights]
    DEP(keras.optimizers.SGD(0.5)).apply_gradients(zip(tensors, variables))
    check(variables)
    variables = [keras.Variable(weight) for weight in weights]
    optimizer = DEP(keras.optimizers.SGD(0.5))
    optimizer.build(variables)
    optimizer.apply(tensors)
    check(variables)
    if keras.backend.backend() != "tensorflow":  # Keras refuses stateless_apply there
        optimizer = DEP(keras.optimizers.SGD(0.5))
        optimizer.build(variables)
        states = [ops.convert_to_tensor(v) for v in optimizer.variables]
        values, states = optimizer.stateless_apply(
            states, tensors, [ops.convert_to_tensor(weight) for weight in weights]
        )
        check(values)
        assert len(states) == len(optimizer.variables)


@pytest.mark.parametrize("jit_compile", JIT)
def test_fit_projects_exactly_once(jit_compile):
    x, y = data()
    model = compiled_model(DEP(keras.optimizers.SGD(0.1)), jit_compile=jit_compile)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    before = model.get_weights()
    plain.compile(keras.optimizers.SGD(1.0), loss=model.loss)
    plain.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    gradients = [old - new for old, new in zip(before, plain.get_weights())]
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    for old, gradient, new in zip(before, gradients, model.get_weights()):
        np.testing.assert_allclose(new, old - 0.1 * project(gradient), atol=1e-5)
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize("columns", [1, 2])
def test_slight_heads_learn_unless_the_released_code_is_followed(columns):
    weights, gradients = arrays(0, [(6, columns)]), arrays(1, [(6, 1)])
    # What a softmax over two classes hands back: rows that sum to zero.
    gradients = [gradients[0] * np.array([1.0, -1.0], "float32")[:columns]]
    kept = [keras.Variable(weights[0], name="head")]
    with pytest.warns(UserWarning, match=f"DEP does not project {kept[0].path}"):
        apply(DEP(keras.optimizers.SGD(1.0)), gradients, kept)
    np.testing.assert_allclose(ops.convert_to_numpy(kept[0]), weights[0] - gradients[0], atol=1e-6)
    wiped = [keras.Variable(weights[0])]
    apply(DEP(keras.optimizers.SGD(1.0), rank_one="remove"), gradients, wiped)
    np.testing.assert_allclose(ops.convert_to_numpy(wiped[0]), weights[0], atol=1e-5)


def test_a_two_class_head_learns():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((64, 8)).astype("float32")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    model.compile(
        DEP(keras.optimizers.SGD(0.5)), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    with pytest.warns(UserWarning, match="does not project .*kernel:") as said:
        history = model.fit(x, (x[:, 0] > 0).astype("int32"), epochs=5, verbose=0)
    assert sum("does not project" in str(warning.message) for warning in said) == 1
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def updated(exclude, names=("first/kernel", "second/kernel")):
    """Which of two weights the projection reached."""
    weights, gradients = arrays(0, [(5, 4)] * 2), arrays(1, [(5, 4)] * 2)
    variables = [keras.Variable(w, name=name.split("/")[0]) for w, name in zip(weights, names)]
    exclude = exclude(variables) if callable(exclude) else exclude
    optimizer = DEP(keras.optimizers.SGD(1.0), exclude=exclude)
    apply(optimizer, gradients, variables)
    reached = []
    for variable, weight, gradient in zip(variables, weights, gradients):
        step = weight - ops.convert_to_numpy(variable)
        reached.append(bool(np.abs(step - gradient).max() > 1e-3))
        expected = project(gradient) if reached[-1] else gradient
        np.testing.assert_allclose(step, expected, atol=1e-5)
    assert optimizer.projected_paths == tuple(
        variable.path for variable, hit in zip(variables, reached) if hit
    )
    return reached


def test_exclude_by_name_pattern_or_variable():
    assert updated(()) == [True, True]
    assert updated("first") == [False, True]
    assert updated(["^sec.*d$"]) == [True, False]
    assert updated(["first", "second"]) == [False, False]
    assert updated(lambda variables: variables[1]) == [True, False]
    assert updated(lambda variables: [variables[0], "second"]) == [False, False]


def test_low_rank_factors_and_overwritten_weights_are_left_alone():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6), keras.layers.Dense(5)])
    model.layers[0].enable_lora(4)
    optimizer = DEP(keras.optimizers.SGD(0.1))
    optimizer.build(model.trainable_variables)
    assert optimizer.projected_paths == (model.layers[1].kernel.path,)
    variable = keras.Variable(np.ones((4, 3), "float32"))
    variable.overwrite_with_gradient = True
    optimizer = DEP(keras.optimizers.SGD(0.1))
    optimizer.build([variable])
    assert optimizer.projected_paths == ()


def test_sparse_embedding_gradients_are_projected_as_dense_ones():
    tokens = np.array([[1, 3, 3], [5, 0, 1]])
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), keras.layers.Embedding(7, 5), keras.layers.Flatten()]
    )
    before = model.get_weights()[0]
    model.compile(DEP(keras.optimizers.SGD(1.0)), "mse")
    target = np.random.default_rng(0).standard_normal((2, 15)).astype("float32")
    model.train_on_batch(tokens, target)
    output = before[tokens].reshape(2, 15)
    gradient = np.zeros_like(before)
    np.add.at(gradient, tokens, (2 * (output - target) / 30).reshape(2, 3, 5))
    np.testing.assert_allclose(model.get_weights()[0], before - project(gradient), atol=1e-5)


@pytest.mark.parametrize("clip", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}])
def test_clipping_acts_on_the_projected_gradient(clip):
    weights, gradients = arrays(0), arrays(1)
    variables = [keras.Variable(weight) for weight in weights]
    apply(DEP(keras.optimizers.SGD(1.0, **clip)), gradients, variables)
    passed = [project(gradient) for gradient in gradients]
    if "clipvalue" in clip:
        passed = [np.clip(g, -0.1, 0.1) for g in passed]
    else:
        total = np.sqrt(sum(np.sum(g**2) for g in passed))
        sizes = [total if "global_clipnorm" in clip else np.linalg.norm(g) for g in passed]
        passed = [g * min(1, 0.5 / size) for g, size in zip(passed, sizes)]
    for variable, weight, gradient in zip(variables, weights, passed):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), weight - gradient, atol=1e-5)


def test_decoupled_weight_decay_is_not_projected():
    weights, gradients = arrays(0), arrays(1)
    variables = [keras.Variable(weight) for weight in weights]
    apply(DEP(keras.optimizers.SGD(0.5, weight_decay=0.1)), gradients, variables)
    for variable, weight, gradient in zip(variables, weights, gradients):
        expected = weight * (1 - 0.5 * 0.1) - 0.5 * project(gradient)
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-5)


def test_adam_moments_are_those_of_the_projected_gradient():
    weights, steps = arrays(0), [arrays(seed) for seed in (1, 2, 3)]
    variables = [keras.Variable(weight) for weight in weights]
    optimizer = DEP(keras.optimizers.Adam(0.1))
    first, second = ([np.zeros_like(w, "float64") for w in weights] for _ in range(2))
    for number, gradients in enumerate(steps, start=1):
        apply(optimizer, gradients, variables)
        for i, gradient in enumerate(map(project, gradients)):
            first[i] += 0.1 * (gradient - first[i])
            second[i] += 0.001 * (gradient**2 - second[i])
            rate = 0.1 * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
            weights[i] = weights[i] - rate * first[i] / (np.sqrt(second[i]) + 1e-7)
    for variable, weight in zip(variables, weights):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), weight, atol=1e-4)


def test_depthwise_kernels_are_folded_by_channel_and_multiplier():
    layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
    layer.build((None, 8, 8, 5))
    kernel = layer.trainable_variables[0]
    before = ops.convert_to_numpy(kernel)
    gradient = arrays(1, [kernel.shape])[0]
    apply(DEP(keras.optimizers.SGD(1.0)), [gradient], [kernel])
    expected = project(gradient.reshape(9, 10)).reshape(kernel.shape)
    error = np.linalg.norm(before - ops.convert_to_numpy(kernel) - expected)
    assert error <= 1e-5 * np.linalg.norm(gradient)


def test_missing_and_non_finite_gradients():
    variables = [keras.Variable(weight) for weight in arrays(0)]
    gradients = [ops.convert_to_tensor(g) for g in arrays(1)]
    gradients[2] = gradients[2] * np.float32("nan")
    seen = []

    class Spy(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            seen.extend(grads)

    optimizer = DEP(Spy(0.1))
    optimizer.apply([gradients[0], None, gradients[2], gradients[3]], variables)
    assert seen[1] is None
    assert np.isnan(ops.convert_to_numpy(seen[2])).all()
    np.testing.assert_array_equal(ops.convert_to_numpy(seen[3]), ops.convert_to_numpy(gradients[3]))


def test_what_was_removed_can_be_read():
    variables = [keras.Variable(weight) for weight in arrays(0)]
    gradients = arrays(1)
    optimizer = DEP(keras.optimizers.SGD(0.1))
    apply(optimizer, gradients, variables)
    spectra = [np.linalg.svd(gradients[i], compute_uv=False) for i in (0, 2)]
    expected = [s[0] ** 2 / np.sum(s**2) for s in spectra]
    np.testing.assert_allclose(ops.convert_to_numpy(optimizer.removed_energy), expected, atol=1e-5)
    values = ops.convert_to_numpy(optimizer.leading_value)
    np.testing.assert_allclose(values, [s[0] for s in spectra], rtol=1e-5)
    assert optimizer.projected_paths == tuple(variables[i].path for i in (0, 2))


def test_learning_rate_iterations_and_schedules_are_those_inside():
    x, y = data()
    model = compiled_model(DEP(keras.optimizers.SGD(0.25)))
    rates = {0: 0.125, 1: 0.0625}
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=32,
        verbose=0,
        callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])],
    )
    assert float(model.optimizer.inner_optimizer.learning_rate) == 0.0625
    assert int(model.optimizer.inner_optimizer.iterations) == int(model.optimizer.iterations) == 4
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25])
    model = compiled_model(DEP(keras.optimizers.SGD(schedule)))
    model.fit(x, y, batch_size=16, verbose=0)
    assert float(model.optimizer.learning_rate) == 0.25


@pytest.mark.parametrize("inner", ["SGD", "Adam", "RMSprop"])
def test_save_load_and_go_on_exactly(tmp_path, inner):
    x, y = data()
    model = compiled_model(DEP(getattr(keras.optimizers, inner)(0.01)))
    model.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, DEP)
    for each in (model, loaded):
        each.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "optimizer",
    [
        DEP(
            keras.optimizers.Adam(0.01),
            rank_one="remove",
            exclude="head",
            output_axes={"own": (0,)},
        ),
        CoupledWeightDecay(keras.optimizers.SGD(0.1, momentum=0.5), 0.25),
        DEP(CoupledWeightDecay(keras.optimizers.SGD(0.1), 1e-3), gradient_accumulation_steps=3),
    ],
    ids=["dep", "decay", "both"],
)
def test_config_round_trip(optimizer):
    config = optimizer.get_config()
    copy = type(optimizer).from_config(config)
    assert copy.get_config() == config == optimizer.get_config()
    assert keras.optimizers.get(keras.optimizers.serialize(optimizer)).get_config() == config


@pytest.mark.parametrize("scaled", [False, True])
def test_mixed_float16_skips_an_overflowing_step_and_keeps_dep_inside(scaled):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    x, y = data()
    scaling, inner = keras.optimizers.LossScaleOptimizer, keras.optimizers.SGD(0.1)
    optimizer = scaling(DEP(inner), initial_scale=2.0**10) if scaled else DEP(inner)
    model = compiled_model(optimizer)
    model.fit(x, y, batch_size=16, verbose=0)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    dep = model.optimizer.inner_optimizer
    assert isinstance(dep, DEP) and type(dep.inner_optimizer) is type(inner)
    before, removed = model.get_weights(), ops.convert_to_numpy(dep.removed_energy)
    scale = float(model.optimizer.dynamic_scale)
    assert (scale == 2.0**10) == scaled and (removed > 0).all()
    broken = np.full_like(x, np.inf)
    model.fit(broken, y, batch_size=64, verbose=0)
    assert float(model.optimizer.dynamic_scale) == scale / 2
    np.testing.assert_array_equal(ops.convert_to_numpy(dep.removed_energy), removed)
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_loss_scale_factor_inside_is_honoured():
    x, y = data()
    scaled = compiled_model(DEP(keras.optimizers.SGD(0.1, loss_scale_factor=128.0)))
    plain = compiled_model(DEP(keras.optimizers.SGD(0.1)))
    plain.set_weights(scaled.get_weights())
    for model in (scaled, plain):
        model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    for one, other in zip(scaled.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="inner_optimizer must be.*3"):
        DEP(3)
    with pytest.raises(ValueError, match="rank_one must be one of keep, remove.*'drop'"):
        DEP("sgd", rank_one="drop")
    with pytest.raises(ValueError, match=r"exclude must hold.*received 3"):
        DEP("sgd", exclude=[3])
    with pytest.raises(ValueError, match=r"exclude must hold.*received '\('"):
        DEP("sgd", exclude="(")
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    for wrapper in (DEP, lambda inner: CoupledWeightDecay(inner, 0.1)):
        with pytest.raises(ValueError, match="received LossScaleOptimizer; put it outside: Loss"):
            wrapper(scaling)
    with pytest.raises(ValueError, match="inner.*=4; give it.*DEP"):
        DEP(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4))
    with pytest.raises(ValueError, match="must be at least 2.*received 1"):
        DEP("sgd", gradient_accumulation_steps=1)
    with pytest.raises(ValueError, match="weight_decay must be.*-1"):
        CoupledWeightDecay("sgd", -1)
