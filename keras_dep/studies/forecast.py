"""How long tasks take on several machines."""

import heapq
from collections.abc import Mapping
from collections.abc import Sequence

from keras_dep.experiments.engines import Task
from keras_dep.experiments.engines.task import Key


def wall_clock(tasks: Sequence[Task], seconds: Mapping[Key, float], machines: int) -> float:
    """Seconds until the last task ends, if each machine does one at a time.

    A free machine takes the first task in the list whose predecessors have ended, as Ray does with
    tasks of the same resources.

    Args:
        tasks: the tasks, each behind those that it comes after.
        seconds: the time of each task, by key.
        machines: how many there are.

    Example:

    >>> tasks = [Task(key=(name,), title=name, call=lambda: None) for name in "abc"]
    >>> tasks.append(Task(key=("d",), title="d", call=lambda: None, after=[("a",)]))
    >>> times = {("a",): 4.0, ("b",): 1.0, ("c",): 1.0, ("d",): 2.0}
    >>> [wall_clock(tasks, times, machines) for machines in (1, 2, 3)]
    [8.0, 6.0, 6.0]
    """
    known = {task.key for task in tasks}
    ended: dict[Key, float] = {}
    waiting = list(tasks)
    free = [0.0] * machines
    now = 0.0
    while waiting:
        now = heapq.heappop(free)
        ready = next((t for t in waiting if _is_ready(t, known, ended, now)), None)
        if ready is None:
            # Nothing can begin before the next end of a task.
            heapq.heappush(free, min(end for end in ended.values() if end > now))
            continue
        waiting.remove(ready)
        ended[ready.key] = now + seconds.get(ready.key, 0.0)
        heapq.heappush(free, ended[ready.key])
    return max(ended.values(), default=now)


def chain(tasks: Sequence[Task], seconds: Mapping[Key, float]) -> float:
    """Seconds of the longest chain of tasks that follow one another: the least on any machines."""
    ended: dict[Key, float] = {}
    for task in tasks:
        begin = max((ended.get(key, 0.0) for key in task.after), default=0.0)
        ended[task.key] = begin + seconds.get(task.key, 0.0)
    return max(ended.values(), default=0.0)


def markdown(
    tasks: Sequence[Task],
    seconds: Mapping[Key, float],
    machines: Sequence[int],
    memory: int | None,
) -> str:
    """The forecast as a table, with the memory of a process and the model below.

    Args:
        tasks: the tasks that are left.
        seconds: the time of each, by key.
        machines: numbers of machines.
        memory: peak memory of a process in bytes, or `None`.
    """
    total = sum(seconds.get(task.key, 0.0) for task in tasks)
    lines = ["| machines | time | busy |", "|---:|---:|---:|"]
    for count in machines:
        last = wall_clock(tasks, seconds, count)
        busy = total / (count * last) if last else 0.0
        lines.append(f"| {count} | {duration(last)} | {busy:.0%} |")
    need = "unknown" if memory is None else f"{memory / 2**30:.1f} GiB"
    lines.append(
        f"A machine is one like this, with one run or measurement at a time. No number of them is "
        f"faster than {duration(chain(tasks, seconds))}, the longest run with its "
        f"measurements. Memory of a process: {need}."
    )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds in words, in the largest unit that is not below two.

    Example:

    >>> duration(90), duration(3600), duration(86400)
    ('90 s', '60 min', '24.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _is_ready(task: Task, known: set[Key], ended: Mapping[Key, float], now: float) -> bool:
    return all(ended.get(key, float("inf")) <= now for key in task.after if key in known)
