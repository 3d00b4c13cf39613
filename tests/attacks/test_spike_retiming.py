"""Retiming: events that only change their time, a literal greedy schedule, and its gradient."""

import keras
import numpy as np
import pytest

from keras_dep import attacks
from keras_dep.attacks.retiming import Lines

BUDGETS = [("jitter", 1), ("jitter", 2), ("delay", 5), ("count", 3)]
STEPS, SIDE = 5, 3


def recording(seed, filled=0.4):
    """Frames whose events differ in size, so that each is known again."""
    rng = np.random.default_rng(seed)
    frames = rng.uniform(0.1, 1, (STEPS, SIDE, SIDE, 2)).astype("float32")
    return frames * (rng.random(frames.shape) < filled)


def moves(before, after):
    """The moves of all events, after a check that each is still on its line."""
    found = []
    for line, other in zip(before.reshape(STEPS, -1).T, after.reshape(STEPS, -1).T):
        assert sorted(line[line > 0]) == sorted(other[other > 0])
        found += [int(np.flatnonzero(other == line[s])[0]) - s for s in np.flatnonzero(line)]
    return np.array(found)


def within(budget, amount, found):
    cost = {
        "jitter": np.abs(found).max(initial=0),
        "delay": np.abs(found).sum(),
        "count": np.count_nonzero(found),
    }
    return cost[budget] <= amount


def literally(frames, lines, chances, budget, amount):
    """One move after the other, in the order of probability over the whole recording."""
    candidates = []
    for number, line in enumerate(lines.used):
        for step in range(STEPS):
            for move, shift in enumerate(lines.shifts):
                if lines.allowed[number, step, move]:
                    key = (-chances[number, step, move], move, step, number)
                    candidates.append((key, line, step, step + shift))
    flat = frames.reshape(STEPS, -1)
    taken = {(s, k) for s, k in zip(*np.nonzero(flat))}
    places, spent, closed = {}, 0, False
    for _, line, step, target in sorted(candidates):
        if (step, line) in places or (target != step and (target, line) in taken):
            continue
        cost = {"jitter": 0, "delay": abs(target - step), "count": int(target != step)}[budget]
        closed = closed or spent + cost > amount
        if closed:
            break
        spent += cost
        taken.discard((step, line))
        taken.add((target, line))
        places[step, line] = target
    result = np.zeros_like(flat)
    for step, line in zip(*np.nonzero(flat)):
        result[places.get((step, line), step), line] = flat[step, line]
    return result.reshape(frames.shape)


@pytest.mark.parametrize("budget, amount", [*BUDGETS, ("delay", 0), ("count", 1000)])
@pytest.mark.parametrize("filled", [0.3, 0.8, 1.0])
def test_frames_are_those_of_the_literal_schedule(budget, amount, filled):
    moved = 0
    for seed in range(6):
        frames = recording(seed, filled)
        lines = Lines(frames, budget, amount)
        rng = np.random.default_rng(seed)
        # Whole numbers, so that many moves tie.
        for logits in (
            rng.normal(0, 3, lines.allowed.shape),
            rng.integers(0, 2, lines.allowed.shape),
        ):
            found = lines.moved(logits)
            expected = literally(frames, lines, lines.probabilities(logits), budget, amount)
            np.testing.assert_array_equal(found, expected)
            assert within(budget, amount, moves(frames, found))
            moved += np.count_nonzero(moves(frames, found))
    assert (moved > 0) == (amount > 0 and filled < 1)


@pytest.mark.parametrize("budget, amount", BUDGETS)
def test_the_gradient_is_that_of_the_objective(budget, amount):
    frames = recording(0, filled=0.7)
    lines = Lines(frames, budget, amount)
    rng = np.random.default_rng(1)
    slope = rng.normal(size=frames.shape)
    logits = rng.normal(0, 0.5, lines.allowed.shape)

    def objective(logits):
        chances, total = lines.probabilities(logits), 0.0
        flat, occupied = slope.reshape(STEPS, -1), np.zeros((len(lines.used), STEPS))
        cost = 0.0
        for number, step, move in zip(*np.nonzero(lines.allowed)):
            chance, shift = chances[number, step, move], lines.shifts[move]
            total += chance * lines.values[number, step] * flat[step + shift, lines.used[number]]
            occupied[number, step + shift] += chance
            cost += chance * (abs(shift) if budget == "delay" else shift != 0)
        total -= 20 * (np.maximum(occupied - 1, 0) ** 2).sum() / lines.active.sum()
        return total - (10 * max(cost / amount - 1, 0) if budget != "jitter" else 0)

    found = lines.gradient(logits, slope, 20.0, 10.0)
    assert not found[~lines.allowed].any()
    places = np.argwhere(lines.allowed)
    for place in map(tuple, places[:: max(len(places) // 40, 1)]):
        high, low = logits.copy(), logits.copy()
        high[place] += 1e-5
        low[place] -= 1e-5
        numeric = (objective(high) - objective(low)) / 2e-5
        np.testing.assert_allclose(found[place], numeric, rtol=1e-4, atol=1e-8)


@pytest.fixture(scope="module")
def model():
    """The class is whether more events come early or late."""
    weights = np.zeros((STEPS, SIDE, SIDE, 2, 2), "float32")
    weights[:2, ..., 0] = weights[3:, ..., 1] = 1.0
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    model = keras.Sequential([keras.Input((STEPS, SIDE, SIDE, 2)), *layers])
    model.set_weights([weights.reshape(-1, 2)])
    return model


@pytest.mark.parametrize("budget, amount", [("jitter", 2), ("delay", 60), ("count", 30)])
def test_only_times_change_and_the_class_with_them(model, budget, amount):
    frames = np.stack([recording(seed) for seed in range(8)])
    labels = model.predict_on_batch(frames).argmax(axis=1).astype("int32")
    attack = attacks.SpikeRetiming(budget=budget, amount=amount)
    found = attack(model, frames, labels)
    assert found.dtype == np.float32 and found.shape == frames.shape
    for before, after in zip(frames, found):
        assert within(budget, amount, moves(before, after))
    fooled = model.predict_on_batch(found).argmax(axis=1) != labels
    assert fooled.mean() >= 0.75
    # A recording does not depend on the others of its batch.
    np.testing.assert_array_equal(attack(model, frames[3:5], labels[3:5]), found[3:5])
    none = attacks.SpikeRetiming(budget=budget, amount=0)(model, frames, labels)
    np.testing.assert_array_equal(none, frames)


def test_the_record_gives_the_attack_again():
    attack = attacks.SpikeRetiming(budget="count", amount=7, steps=3, estimator="rga")
    again = attacks.from_config(attack.get_config())
    assert again.get_config() == attack.get_config()
    assert (again.budget, again.amount, again.threat.steps) == ("count", 7, 3)
    assert attacks.SpikeRetiming().threat.steps == 20
    assert attacks.SpikeRetiming(budget="delay").threat.steps == 40


def test_bad_arguments_are_one_line(model):
    for given, words in (
        ({"budget": "time"}, "budget must be one of jitter, delay, count; received 'time'"),
        ({"amount": -1}, "amount must be at least 0; received -1"),
        ({"steps": 0}, "steps must be at least 1; received 0"),
    ):
        with pytest.raises(ValueError, match=words):
            attacks.SpikeRetiming(**given)
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="SpikeRetiming needs frames .*received shape .1, 4."):
        attacks.SpikeRetiming()(flat, np.zeros((1, 4), "float32"), np.zeros(1, "int32"))
