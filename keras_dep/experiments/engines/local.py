"""The engine that carries out tasks in this process, one after the other."""

from collections.abc import Callable
from collections.abc import Sequence

from keras_dep.experiments.engines.task import Key
from keras_dep.experiments.engines.task import Task


class Local:
    """Carries out tasks in this process, in their order.

    Example:

    >>> tasks = [Task(key=(name,), title=name, call=lambda: None) for name in ("one", "two")]
    >>> Local().carry_out(tasks, print)
    1 of 2: one
    2 of 2: two
    {}
    """

    together = False
    patience = 0.0

    def carry_out(
        self,
        tasks: Sequence[Task],
        report: Callable[[str], None] = lambda line: None,
        watch: Callable[[], None] = lambda: None,
    ) -> dict[Key, str]:
        """Carries out the tasks; see `keras_dep.experiments.engines.Engine`."""
        reasons = {}
        for number, task in enumerate(tasks, 1):
            report(f"{number} of {len(tasks)}: {task.title}")
            reason = task.call()
            if reason is not None:
                reasons[task.key] = reason
                if task.fail is not None:
                    task.fail(reason)
                report(f"failed: {task.title}: {reason}")
            watch()
        return reasons
