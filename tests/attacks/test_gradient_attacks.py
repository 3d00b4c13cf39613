"""FGSM and PGD against closed form on a linear softmax model, and what they leave untouched."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import FGSM
from keras_dep import PGD
from keras_dep import DirectEncoding
from keras_dep import UnfoldTime
from keras_dep.attacks.randomness import random_offset
from tests.support.stateful import everything
from tests.support.stateful import spiking

FEATURES, CLASSES, COUNT, T = 6, 4, 32, 3


def linear(seed=0):
    draw = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(CLASSES)])
    kernel = draw.standard_normal((FEATURES, CLASSES)).astype("float32")
    bias = draw.standard_normal(CLASSES).astype("float32")
    model.set_weights([kernel, bias])
    return model, kernel.astype("float64"), bias.astype("float64")


def problem(low=0.0, high=1.0, count=COUNT, shape=(FEATURES,), classes=CLASSES):
    draw = np.random.default_rng(1)
    x = draw.uniform(low, high, (count, *shape)).astype("float32")
    return x, draw.integers(0, classes, count).astype("int32")


def bumpy():
    """Smooth but far from linear, so that different starts end in different places."""
    keras.utils.set_random_seed(3)
    wide = keras.initializers.RandomNormal(stddev=4.0)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(16, activation="tanh", kernel_initializer=wide),
            layers.Dense(CLASSES, kernel_initializer=wide),
        ]
    )


def logits(kernel, bias, x):
    return x.astype("float64") @ kernel + bias


def linear_gradient(kernel, bias, x, y):
    """Of the cross-entropy in the input: `(softmax - one_hot) W^T`."""
    scores = np.exp(logits(kernel, bias, x))
    return (scores / scores.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]) @ kernel.T


def linear_ascent(kernel, bias, x, y, start, epsilon, step_size, steps):
    low, high = np.maximum(x - epsilon, 0), np.minimum(x + epsilon, 1)
    found = np.clip(start.astype("float64"), low, high)
    for _ in range(steps):
        direction = np.sign(linear_gradient(kernel, bias, found, y))
        found = np.clip(found + step_size * direction, low, high)
    return found


def margins(model, x, y):
    scores = ops.convert_to_numpy(model(x))
    right = scores[np.arange(len(y)), y]
    others = np.where(np.eye(CLASSES)[y] > 0, -np.inf, scores)
    return others.max(axis=1) - right


@pytest.mark.parametrize("epsilon", [2 / 255, 8 / 255, 0.3])
def test_fgsm_is_one_signed_step_in_closed_form(epsilon):
    model, kernel, bias = linear()
    x, y = problem()
    found = FGSM(epsilon=epsilon)(model, x, y)
    gradient = linear_gradient(kernel, bias, x, y)
    expected = np.clip(x + epsilon * np.sign(gradient), 0, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_follows_the_closed_form(random_start):
    model, kernel, bias = linear()
    x, y = problem()
    attack = PGD(epsilon=0.1, step_size=0.03, steps=5, random_start=random_start, seed=7)
    offset = random_offset(attack.threat, x, [7, 0]) if random_start else 0
    expected = linear_ascent(kernel, bias, x, y, x + offset, 0.1, 0.03, 5)
    np.testing.assert_allclose(attack(model, x, y), expected, rtol=0, atol=1e-6)


def test_two_classes_end_in_the_worst_corner():
    # With two classes the gradient's sign is constant: the worst image is known exactly.
    model, kernel, _ = linear()
    x, y = problem(classes=2)
    out_of_reach = np.array([0, 0, -1e9, -1e9], "float32")
    model.set_weights([kernel.astype("float32"), out_of_reach])
    direction = np.sign(kernel[:, 1] - kernel[:, 0]) * np.where(y == 0, 1, -1)[:, None]
    expected = np.clip(x + 0.2 * direction, 0, 1)
    found = PGD(epsilon=0.2, step_size=0.05, steps=20)(model, x, y)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_per_step_logits_are_averaged_first():
    model, kernel, bias = linear()
    x, y = problem()
    inputs = keras.Input((FEATURES,))
    steps = UnfoldTime(T)(model(DirectEncoding(T)(inputs)))
    wide = keras.Model(inputs, steps)
    assert wide.output_shape == (None, T, CLASSES)
    attack = PGD(epsilon=0.1, step_size=0.03, steps=3)
    np.testing.assert_allclose(attack(wide, x, y), attack(model, x, y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.37, 1.0])
@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_ball_and_range_hold_to_one_ulp(attack, epsilon):
    model, _, _ = linear()
    x, y = problem()
    x[:4], x[4:8] = 0, 1
    found = attack(epsilon=epsilon)(model, x, y)
    assert found.dtype == np.float32 and found.shape == x.shape
    assert found.min() >= 0 and found.max() <= 1
    excess = np.abs(found.astype("float64") - x) - np.float32(epsilon)
    assert (excess <= np.spacing(np.maximum(found, np.float32(epsilon)))).all()
    # An attack that moves nothing would pass the above.
    assert np.median(np.abs(found - x)) >= min(epsilon, 0.05) * 0.9


@pytest.mark.parametrize(
    "attack",
    [FGSM(epsilon=0), PGD(epsilon=0), PGD(epsilon=0, restarts=3)],
    ids=["fgsm", "pgd", "pgd with restarts"],
)
def test_epsilon_zero_returns_the_input_bit_for_bit(attack):
    model, _, _ = linear()
    x, y = problem()
    x[:2], x[2:4] = 0, 1
    assert attack(model, x, y).tobytes() == x.tobytes()


def test_random_starts_are_seeded():
    model = bumpy()
    x, y = problem()
    attack = PGD(epsilon=0.2, step_size=0.01, steps=1, seed=5)
    once = attack(model, x, y)
    np.testing.assert_array_equal(attack(model, x, y), once)
    np.testing.assert_array_equal(attack(model, x, y, seed=5), once)
    other = PGD(epsilon=0.2, step_size=0.01, steps=1, seed=6)(model, x, y)
    np.testing.assert_array_equal(attack(model, x, y, seed=6), other)
    assert np.abs(other - once).max() > 0.05
    # The seed of one call does not stay.
    np.testing.assert_array_equal(attack(model, x, y), once)
    listed = attack(model, x, y, seed=[5, 1, 0])
    np.testing.assert_array_equal(attack(model, x, y, seed=[5, 1, 0]), listed)
    assert np.abs(listed - once).max() > 0.05


def test_random_start_does_not_touch_global_generators():
    model, _, _ = linear()
    x, y = problem()
    np.random.seed(4)
    expected = np.random.random(3)
    np.random.seed(4)
    PGD(epsilon=0.1)(model, x, y)
    np.testing.assert_array_equal(np.random.random(3), expected)


def test_random_offset_is_uniform_in_the_ball():
    threat = PGD(epsilon=0.25).threat
    draw = random_offset(threat, np.random.default_rng(0).random((100, 1000)), 3)
    assert np.abs(draw).max() <= np.float32(0.25)
    # Mean and variance of the uniform distribution, to five standard errors.
    assert abs(draw.mean()) < 5 * 0.25 / np.sqrt(3 * draw.size)
    np.testing.assert_allclose(draw.var(), 0.25**2 / 3, rtol=5e-2)


def test_restarts_are_never_worse_on_any_image():
    model = bumpy()
    x, y = problem(count=64)
    found = [
        margins(model, PGD(epsilon=0.3, step_size=0.1, steps=3, restarts=n)(model, x, y), y)
        for n in (1, 2, 5)
    ]
    assert (found[1] >= found[0] - 1e-5).all() and (found[2] >= found[1] - 1e-5).all()
    # A search that ignored its restarts would be no worse either.
    assert (found[2] > found[0] + 1e-3).any()


def test_restarts_take_each_image_from_one_search():
    model = bumpy()
    x, y = problem()
    options = dict(epsilon=0.3, step_size=0.1, steps=2)
    found = PGD(**options, restarts=3, seed=4)(model, x, y)
    alone = PGD(**options)
    singles = []
    for restart in range(3):
        start = x + random_offset(alone.threat, x, [4, restart])
        singles.append(ascent_from(model, x, y, start, alone))
    best = np.argmax([margins(model, each, y) for each in singles], axis=0)
    expected = np.stack(singles)[best, np.arange(len(x))]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert len(set(best)) > 1


def ascent_from(model, x, y, start, attack):
    """PGD in NumPy but for the gradient, which is analytic in the two dense layers."""
    first, first_bias, second, second_bias = [w.astype("float64") for w in model.get_weights()]
    epsilon, step = attack.threat.epsilon, attack.threat.step_size
    low, high = np.maximum(x - epsilon, 0), np.minimum(x + epsilon, 1)
    found = np.clip(start.astype("float64"), low, high)
    for _ in range(attack.threat.steps):
        hidden = np.tanh(found @ first + first_bias)
        scores = hidden @ second + second_bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = scores / scores.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]
        gradient = ((error @ second.T) * (1 - hidden**2)) @ first.T
        found = np.clip(found + step * np.sign(gradient), low, high)
    return found.astype("float32")


def test_nothing_of_the_model_changes():
    model = spiking()
    x, y = problem(shape=(4, 4, 2))
    # Values that only training would bring.
    model.optimizer.build(model.trainable_variables)
    draw = np.random.default_rng(2)
    for variable in [*model.metrics_variables, *model.optimizer.variables]:
        variable.assign(ops.cast(draw.integers(1, 9, variable.shape), variable.dtype))
    before = everything(model)
    for part in ("seed_generator_state", "moving_mean", "momentum", "iteration"):
        assert any(part in path for path in before)
    for attack in (FGSM(epsilon=0.1), PGD(epsilon=0.1, steps=2, restarts=2)):
        found = attack(model, x, y)
        assert everything(model) == before
        assert np.abs(found - x).max() > 0.05


def test_the_gradient_follows_the_weights_of_the_moment():
    model, kernel, bias = linear()
    x, y = problem(0.3, 0.7)
    attack = FGSM(epsilon=0.1)
    before = attack(model, x, y)
    model.set_weights([-kernel.astype("float32"), -bias.astype("float32")])
    after = attack(model, x, y)
    expected = x + 0.1 * np.sign(linear_gradient(-kernel, -bias, x, y))
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-6)
    assert np.abs(after - before).max() > 0.1


def test_inference_mode_is_attacked():
    # In training mode the batch statistics would cancel scale and shift of the images.
    model = keras.Sequential([keras.Input((FEATURES,)), layers.BatchNormalization()])
    model.add(layers.Dense(CLASSES))
    draw = np.random.default_rng(2)
    model.set_weights(
        [draw.uniform(0.5, 2, w.shape).astype("float32") for w in model.get_weights()]
    )
    weights = [*model.layers[0].get_weights(), *model.layers[1].get_weights()]
    gamma, beta, mean, variance, kernel, bias = [w.astype("float64") for w in weights]
    scale = gamma / np.sqrt(variance + model.layers[0].epsilon)
    merged = scale[:, None] * kernel, bias + (beta - mean * scale) @ kernel
    x, y = problem(0.3, 0.7)
    expected = x + 0.1 * np.sign(linear_gradient(*merged, x, y))
    np.testing.assert_allclose(FGSM(epsilon=0.1)(model, x, y), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [FGSM(epsilon=0.1), PGD(epsilon=0.1, steps=3, random_start=False)],
    ids=["fgsm", "pgd"],
)
def test_an_image_does_not_depend_on_its_batch(attack):
    model = bumpy()
    x, y = problem()
    together = attack(model, x, y)
    for chosen in (slice(3, 10), slice(None, None, -1)):
        alone = attack(model, x[chosen], y[chosen])
        np.testing.assert_allclose(alone, together[chosen], rtol=0, atol=1e-6)


def test_nan_gradients_survive():
    # The square root's slope at zero is infinite; behind a zero weight it becomes NaN.
    class Root(layers.Layer):
        def call(self, x):
            return ops.sqrt(x * 0.0) * x + x

    model, kernel, bias = linear()
    inputs = keras.Input((FEATURES,))
    broken = keras.Model(inputs, model(Root()(inputs)))
    x, y = problem()
    for attack in (FGSM(epsilon=0.1), PGD(epsilon=0.1, steps=3)):
        found = attack(broken, x, y)
        assert np.isfinite(found).all()
    np.testing.assert_array_equal(FGSM(epsilon=0.1)(broken, x, y), x)


def test_nan_weights_leave_an_image_inside_the_ball():
    model, kernel, bias = linear()
    model.set_weights([np.full_like(kernel, np.nan, "float32"), bias.astype("float32")])
    x, y = problem()
    found = PGD(epsilon=0.1, restarts=2)(model, x, y)
    assert np.isfinite(found).all() and np.abs(found - x).max() <= 0.1 + 1e-6


def test_numpy_in_numpy_out_and_tensor_in_tensor_out():
    model, _, _ = linear()
    x, y = problem()
    attack = FGSM(epsilon=0.1)
    found = attack(model, x, y)
    assert type(found) is np.ndarray and found.dtype == np.float32
    assert found.flags.writeable
    tensor = attack(model, ops.convert_to_tensor(x), ops.convert_to_tensor(y))
    assert ops.is_tensor(tensor)
    np.testing.assert_array_equal(ops.convert_to_numpy(tensor), found)
    np.testing.assert_array_equal(attack(model, x.astype("float64"), y.astype("int64")), found)


def test_a_dropped_model_is_not_kept_alive():
    attack = FGSM(epsilon=0.1)
    model, _, _ = linear()
    attack(model, *problem())
    reference = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x * 255, y), r"Images must lie in \[0, 1\]; received values from .* scale"),
        (lambda x, y: (x - 0.5, y), r"Images must lie in \[0, 1\]; received values from -0\."),
        (
            lambda x, y: (np.where(x > 0.9, np.nan, x), y),
            r"Images must lie in \[0, 1\]; .*not finite",
        ),
        (lambda x, y: (x, y[:-1]), "one label each; received 32 images and 31 labels"),
        (lambda x, y: (x[:5], y), "one label each; received 5 images and 32 labels"),
    ],
    ids=["bytes", "centred", "nan", "short labels", "short images"],
)
@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_bad_images_and_labels(attack, change, message):
    model, _, _ = linear()
    with pytest.raises(ValueError, match=message) as raised:
        attack(epsilon=0.1)(model, *change(*problem()))
    assert "\n" not in str(raised.value)
