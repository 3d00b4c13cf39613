"""Losses and accuracy against plain NumPy formulas, on logits with and without a time axis."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import MeanLogitAccuracy
from keras_dep import MeanLogitCrossentropy
from keras_dep import TemporalEfficientTraining
from keras_dep.losses import mean_logits
from keras_dep.losses import predicted_classes

BATCH, TIME, CLASSES = 6, 4, 5
SHAPES = [(BATCH, CLASSES), (BATCH, TIME, CLASSES)]
LOSSES = [MeanLogitCrossentropy, TemporalEfficientTraining]


def sample(shape, seed=0):
    draw = np.random.default_rng(seed)
    logits = (3 * draw.standard_normal(shape)).astype("float32")
    return logits, draw.integers(0, shape[-1], shape[0]).astype("int32")


def cross_entropy(logits, labels):
    """Of `(batch, classes)`, one number per sample."""
    logits = logits.astype("float64")
    top = logits.max(axis=-1)
    log_total = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
    return log_total - logits[np.arange(len(labels)), labels]


def expected(loss, logits, labels, weight=0.0, target=1.0):
    steps = logits[:, None] if logits.ndim == 2 else logits
    if loss is MeanLogitCrossentropy:
        entropy = cross_entropy(steps.astype("float64").mean(axis=1), labels)
    else:
        entropy = np.mean(
            [cross_entropy(steps[:, t], labels) for t in range(steps.shape[1])], axis=0
        )
    distance = ((steps.astype("float64") - target) ** 2).mean(axis=(1, 2))
    return (1 - weight) * entropy + weight * distance


@pytest.mark.parametrize("weight, target", [(0.0, 1.0), (0.05, 1.0), (0.3, -2.0), (1.0, 0.5)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_equals_the_formula(loss, shape, weight, target):
    logits, labels = sample(shape)
    found = loss(mse_weight=weight, mse_target=target)(labels, ops.convert_to_tensor(logits))
    wanted = expected(loss, logits, labels, weight, target).mean()
    assert float(found) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_one_value_per_sample_without_reduction(loss, shape):
    logits, labels = sample(shape, seed=1)
    found = loss(mse_weight=0.05, reduction="none")(labels, ops.convert_to_tensor(logits))
    wanted = expected(loss, logits, labels, 0.05)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_sample_weights_scale_each_sample(loss):
    logits, labels = sample(SHAPES[1], seed=2)
    weights = np.array([0, 1, 2, 0, 0.5, 3], "float32")
    found = loss(reduction="sum")(labels, ops.convert_to_tensor(logits), weights)
    wanted = (weights * expected(loss, logits, labels)).sum()
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_the_two_losses_differ_unless_steps_agree():
    logits, labels = sample(SHAPES[1])
    values = [float(loss()(labels, ops.convert_to_tensor(logits))) for loss in LOSSES]
    assert values[1] > values[0] + 0.1  # Jensen: the mean of entropies is the larger
    constant = np.repeat(logits[:, :1], TIME, axis=1)
    values = [float(loss()(labels, ops.convert_to_tensor(constant))) for loss in LOSSES]
    assert values[1] == pytest.approx(values[0], rel=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_labels_may_be_a_column_and_of_any_number_type(loss, shape, dtype):
    logits, labels = sample(shape)
    tensor = ops.convert_to_tensor(logits)
    flat = float(loss(mse_weight=0.1)(labels, tensor))
    column = float(loss(mse_weight=0.1)(labels.astype(dtype)[:, None], tensor))
    assert column == pytest.approx(flat, rel=1e-6)


def test_large_logits_stay_finite():
    logits = ops.convert_to_tensor([[[1e4, -1e4], [1e4, -1e4]]])
    for loss in LOSSES:
        assert float(loss()(np.array([1]), logits)) == pytest.approx(2e4, rel=1e-5)
        assert float(loss()(np.array([0]), logits)) == pytest.approx(0.0, abs=1e-5)


def test_mean_logits():
    logits, _ = sample(SHAPES[1])
    found = ops.convert_to_numpy(mean_logits(ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(found, logits.mean(axis=1), atol=1e-6)
    flat = sample(SHAPES[0])[0]
    np.testing.assert_array_equal(ops.convert_to_numpy(mean_logits(flat)), flat)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_accuracy_over_two_updates(shape):
    metric = MeanLogitAccuracy()
    assert metric.name == "accuracy"
    hits, total = 0, 0
    for seed, count in ((0, 6), (1, 3)):
        logits, labels = (each[:count] for each in sample(shape, seed))
        labels[0] = np.argmax(logits[0].reshape(-1, CLASSES).mean(axis=0))
        metric.update_state(labels[:, None] if seed else labels, ops.convert_to_tensor(logits))
        steps = logits.reshape(count, -1, CLASSES)
        hits += np.sum(steps.mean(axis=1).argmax(axis=1) == labels)
        total += count
    assert 0 < hits < total
    assert float(metric.result()) == pytest.approx(hits / total, abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_accuracy_follows_the_mean_and_not_the_majority_of_steps():
    logits = np.array([[[1, 0], [1, 0], [0, 9]]], "float32")
    metric = MeanLogitAccuracy()
    metric.update_state(np.array([1]), ops.convert_to_tensor(logits))
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_config_round_trip(loss):
    original = loss(mse_weight=0.05, mse_target=0.5, reduction="sum", name="mine")
    copy = keras.losses.get(keras.losses.serialize(original))
    assert type(copy) is loss
    assert copy.get_config() == original.get_config()
    assert (copy.mse_weight, copy.mse_target, copy.reduction, copy.name) == (
        0.05,
        0.5,
        "sum",
        "mine",
    )
    logits, labels = sample(SHAPES[1])
    assert float(copy(labels, logits)) == float(original(labels, logits))


def test_accuracy_config_round_trip():
    original = MeanLogitAccuracy(name="share", dtype="float32")
    copy = keras.metrics.get(keras.metrics.serialize(original))
    assert type(copy) is MeanLogitAccuracy
    assert copy.get_config() == original.get_config()
    assert (copy.name, copy.dtype) == ("share", "float32")


def test_a_compiled_model_comes_back_with_loss_and_metric(tmp_path):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(8), keras.layers.Reshape((2, 4))]
    )
    model.compile("sgd", TemporalEfficientTraining(mse_weight=0.05), metrics=[MeanLogitAccuracy()])
    x, y = np.random.default_rng(0).random((8, 3), "float32"), np.arange(8) % 4
    wanted = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), wanted, rtol=1e-6)
    logits = model.predict(x, verbose=0)
    assert wanted[0] == pytest.approx(
        expected(TemporalEfficientTraining, logits, y, 0.05).mean(), rel=1e-5
    )


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
@pytest.mark.parametrize("loss", LOSSES)
def test_bad_weight(loss, weight):
    with pytest.raises(ValueError, match=rf"mse_weight must lie in \[0, 1\]; received {weight}"):
        loss(mse_weight=weight)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4, 5)], ids=str)
def test_bad_rank(shape):
    wanted = r"Logits must be \(batch, classes\) or .* received shape=\(" + str(shape[0])
    with pytest.raises(ValueError, match=wanted):
        mean_logits(np.zeros(shape, "float32"))


@pytest.mark.parametrize("shape", [(4, 1), (4, 2, 1)], ids=str)
def test_one_logit_is_refused_by_name(shape):
    outputs, labels = ops.zeros(shape), np.zeros(4)
    for ask in (mean_logits, *(lambda z, loss=loss: loss()(labels, z) for loss in LOSSES)):
        with pytest.raises(ValueError, match="at least two classes; received .* in two logits"):
            ask(outputs)
    with pytest.raises(ValueError, match="at least two classes; received .* in two logits"):
        MeanLogitAccuracy().update_state(labels, outputs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_hot_labels_are_those_of_their_class(shape):
    logits, labels = sample(shape)
    labels[0] = logits[0].reshape(-1, CLASSES).mean(axis=0).argmax()
    tensor, hot = ops.convert_to_tensor(logits), np.eye(CLASSES)[labels]
    for loss in LOSSES:
        assert float(loss()(hot, tensor)) == float(loss()(labels, tensor))
    metrics = MeanLogitAccuracy(), MeanLogitAccuracy()
    for metric, given in zip(metrics, (hot, labels)):
        metric.update_state(given, tensor)
    assert float(metrics[0].result()) == float(metrics[1].result()) > 0


WRONG = {
    "above": lambda y: y + CLASSES,
    "below": lambda y: y - CLASSES,
    "between": lambda y: y + 0.5,
    "nan": lambda y: y * np.nan,
    "soft rows": lambda y: np.full((len(y), CLASSES), 1 / CLASSES),
    "two in a row": lambda y: np.eye(CLASSES)[y] + np.eye(CLASSES)[(y + 1) % CLASSES],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_labels_that_are_no_class_are_refused_where_they_can_be_read(wrong):
    logits, labels = sample(SHAPES[1])
    given = WRONG[wrong](labels)
    for loss in LOSSES:
        with pytest.raises(ValueError, match="labels must be whole numbers .* with the"):
            loss()(given, ops.convert_to_tensor(logits))
    with pytest.raises(ValueError, match="labels must be whole numbers .* with the"):
        MeanLogitAccuracy().update_state(given, ops.convert_to_tensor(logits))


def test_and_make_a_compiled_loss_nan():
    """In a compiled step nothing can be raised; what runs eagerly on a CPU raises there too."""
    x, rows = np.ones((BATCH, 3), "float32"), {}
    labels = sample(SHAPES[0])[1]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(CLASSES)])
    model.compile("sgd", TemporalEfficientTraining(), metrics=[MeanLogitAccuracy()])
    start = model.get_weights()
    one_hot = np.eye(CLASSES)[labels]
    right = {"flat": labels, "column": labels[:, None], "one-hot": one_hot}
    for name, given in right.items():
        model.set_weights(start)
        model.reset_metrics()
        rows[name] = model.train_on_batch(x, given)
    assert rows["flat"] == rows["column"] == rows["one-hot"] and np.isfinite(rows["flat"]).all()
    for wrong in WRONG.values():
        model.set_weights(start)
        model.reset_metrics()
        try:
            loss, accuracy = model.train_on_batch(x, wrong(labels))
        except ValueError as error:
            assert keras.backend.backend() == "torch" and "labels must be whole" in str(error)
        else:
            assert keras.backend.backend() != "torch" and np.isnan(loss)
            # Logits that are not finite do not match a label that is no class.
            assert accuracy == model.train_on_batch(x, wrong(labels))[1] == 0


def test_an_answer_that_is_not_finite_is_wrong_and_its_loss_is_not_finite():
    for value in (np.nan, np.inf):
        for shape in SHAPES:
            logits, _ = sample(shape)
            logits[0] = value
            tensor, labels = ops.convert_to_tensor(logits), np.zeros(BATCH, "int32")
            expected = logits.reshape(BATCH, -1, CLASSES).mean(axis=1).argmax(axis=1)
            expected[0] = -1
            found = ops.convert_to_numpy(predicted_classes(tensor))
            np.testing.assert_array_equal(found, expected)
            metric = MeanLogitAccuracy()
            metric.update_state(labels, tensor)
            assert float(metric.result()) == pytest.approx(np.mean(expected == 0))
            for loss in LOSSES:
                assert not np.isfinite(float(loss()(labels, tensor)))


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_rank_in_a_loss(loss):
    with pytest.raises(ValueError, match="Logits must be"):
        loss()(np.zeros((2,), "int32"), np.zeros((2, 3, 4, 5), "float32"))
