"""The wall-clock forecast against schedules worked out by hand."""

import pytest

from keras_dep.experiments.engines import Task
from keras_dep.studies import forecast


def task(name, after=()):
    return Task(key=(name,), title=name, call=lambda: None, after=[(each,) for each in after])


def test_equal_tasks_divide_and_a_chain_does_not():
    tasks, seconds = [task(str(i)) for i in range(12)], {(str(i),): 5.0 for i in range(12)}
    assert [forecast.wall_clock(tasks, seconds, n) for n in (1, 2, 5, 12, 50)] == [
        60.0,
        30.0,
        15.0,
        5.0,
        5.0,
    ]
    chain = [task("0"), *(task(str(i), after=[str(i - 1)]) for i in range(1, 12))]
    assert [forecast.wall_clock(chain, seconds, n) for n in (1, 3)] == [60.0, 60.0]
    assert forecast.chain(chain, seconds) == 60.0 and forecast.chain(tasks, seconds) == 5.0
    assert forecast.wall_clock([], {}, 3) == forecast.chain([], {}) == 0.0


def test_a_free_machine_takes_the_first_task_that_may_begin():
    tasks = [task("long"), task("after", ["long", "not planned"]), task("a"), task("b")]
    seconds = {("long",): 6.0, ("after",): 1.0, ("a",): 2.0, ("b",): 2.0}
    assert forecast.wall_clock(tasks, seconds, 1) == 11.0
    assert forecast.wall_clock(tasks, seconds, 2) == 7.0
    text = forecast.markdown(tasks, {k: 3600 * v for k, v in seconds.items()}, [1, 2], 3 * 2**29)
    assert "| 1 | 11.0 h | 100% |" in text and "| 2 | 7.0 h | 79% |" in text
    assert "faster than 7.0 h" in text and "1.5 GiB" in text


@pytest.mark.parametrize("machines", [1, 2, 3])
def test_a_schedule_is_between_its_bounds(machines):
    tasks = [task(str(i), [str(i - 3)] if i % 4 == 3 else []) for i in range(40)]
    seconds = {(str(i),): 1.0 + i * 7 % 5 for i in range(40)}
    last = forecast.wall_clock(tasks, seconds, machines)
    least = max(sum(seconds.values()) / machines, forecast.chain(tasks, seconds))
    assert least <= last <= 2 * least
