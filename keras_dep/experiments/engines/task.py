"""A task, and the interface of the engines that carry it out."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Protocol

Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A piece of work that leaves its result in files, and can be done twice without harm.

    Args:
        key: its identity among the tasks of a call.
        title: its name in messages and in Ray's dashboard.
        call: function without arguments, which pickles. It returns `None`, or in one line the
            reason why it failed.
        after: keys of tasks that must have ended before. Those that are not in the call count as
            ended.
        fail: called with the reason of a failure, in the process that called the engine, or `None`.

    Example:

    >>> Task(key=("1",), title="nothing", call=lambda: None).after
    ()
    """

    key: Key
    title: str
    call: Callable[[], str | None]
    after: Sequence[Key] = ()
    fail: Callable[[str], None] | None = None


class Engine(Protocol):
    """What carries out tasks.

    Attributes:
        together: whether it wants all tasks in one call, so that none of its places stays idle.
        patience: seconds for which a task waits for a folder that another process uses.

    Example:

    >>> from keras_dep.experiments import engines
    >>> engines.Local().together, engines.Ray().together
    (False, True)
    """

    together: bool
    patience: float

    def carry_out(
        self,
        tasks: Sequence[Task],
        report: Callable[[str], None] = lambda line: None,
        watch: Callable[[], None] = lambda: None,
    ) -> dict[Key, str]:
        """Carries out the tasks; one that fails does not stop the others.

        Args:
            tasks: the tasks, each behind those that it comes after.
            report: called with a line about a task.
            watch: called after each task, and from time to time.

        Returns:
            The reasons of those that failed, by key.
        """
        ...
