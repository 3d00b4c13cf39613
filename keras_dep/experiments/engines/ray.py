"""The engine that carries out tasks on a Ray cluster, with Ray Core alone."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

import keras

from keras_dep.experiments.engines.task import Key
from keras_dep.experiments.engines.task import Task

# Variables that decide results or speed, which workers take from the calling process.
_INHERITED = ("KERAS_", "TF_", "XLA_", "JAX_", "MALLOC_", "OMP_", "TORCHINDUCTOR_")
# Seconds between two looks at the progress.
_INTERVAL = 30.0


class Ray:
    """Carries out each task as a Ray task of its title.

    Ray places a task where its processors and GPUs are free, and starts it again elsewhere if its
    process or its node dies. It connects to the cluster of `RAY_ADDRESS` or of this machine, and
    otherwise starts one on this machine, which ends with the call. All nodes must have the
    package, and the folder of the results under the same path.

    Args:
        cpus: processors of a task, which are also its threads.
        gpus: GPUs of a task; a fraction shares one between tasks, 0 hides all of them.
        retries: how often a task is started again whose process or node died; -1: always.

    Raises:
        ValueError: a number below its limit, or Ray is not installed.

    Example:

    >>> Ray(cpus=2).together
    True
    """

    together = True
    # Network file systems release the lock of a dead client after up to 90 seconds.
    patience = 120.0

    def __init__(self, cpus: float = 1.0, gpus: float = 0.0, retries: int = 3) -> None:
        for name, value, least in (("cpus", cpus, 0), ("gpus", gpus, 0), ("retries", retries, -1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}; received {value}.")
        self.options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": retries}

    def carry_out(
        self,
        tasks: Sequence[Task],
        report: Callable[[str], None] = lambda line: None,
        watch: Callable[[], None] = lambda: None,
    ) -> dict[Key, str]:
        """Carries out the tasks; see `keras_dep.experiments.engines.Engine`."""
        if not tasks:
            return {}
        reasons: dict[Key, str] = {}
        with _connected() as ray:
            pending = self._submit(ray, tasks)
            report(f"{len(tasks)} tasks on Ray: {_places(ray)}")
            while pending:
                ended, _ = ray.wait(list(pending), timeout=_INTERVAL)
                for reference in ended:
                    task = pending.pop(reference)
                    reason, where = _ended(ray, reference)
                    done = f"{len(tasks) - len(pending)} of {len(tasks)}"
                    report(f"{done}{' failed' * (reason is not None)}: {task.title} ({where})")
                    if reason is not None:
                        reasons[task.key] = reason
                        if task.fail is not None:
                            task.fail(reason)
                        report(f"failed: {task.title}: {reason}")
                watch()
        return reasons

    def _submit(self, ray: Any, tasks: Sequence[Task]) -> dict[Any, Task]:
        """Hands all tasks to Ray; the tasks by their references."""
        chosen = {k: v for k, v in os.environ.items() if k.startswith(_INHERITED)}
        chosen["KERAS_BACKEND"] = keras.config.backend()
        remote = ray.remote(**self.options, runtime_env={"env_vars": chosen})(_called)
        references: dict[Key, Any] = {}
        for task in tasks:
            # Ray starts a task when its arguments are there.
            before = [references[key] for key in task.after if key in references]
            references[task.key] = remote.options(name=task.title).remote(task.call, *before)
        return {references[task.key]: task for task in tasks}


def _called(call: Callable[[], str | None], *before: object) -> tuple[str | None, str]:
    """Calls a task in a worker: the reason of its failure, and time and place."""
    import ray

    started = time.perf_counter()
    reason = call()
    seconds = time.perf_counter() - started
    return reason, f"{seconds:.1f} s on {ray.util.get_node_ip_address()}"


def _ended(ray: Any, reference: Any) -> tuple[str | None, str]:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return f"{type(error).__name__}: {_first_line(error)}", "ended by Ray"


def _first_line(error: Exception) -> str:
    """The first line of a message that is not empty: Ray adds paragraphs of advice."""
    return next(filter(None, map(str.strip, str(error).splitlines())), "")


@contextlib.contextmanager
def _connected() -> Generator[Any, None, None]:
    """Yields Ray, connected; a connection that was there before stays."""
    # Ray reads it when it is imported. Without it Ray sends statistics of use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "engine ray needs Ray; received no installed package of that name; run pip install "
            "'keras_dep[cluster]'."
        ) from error

    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise ValueError(
                f"engine ray must reach its cluster; received {_first_line(error)!r}; "
                "check RAY_ADDRESS, and set RAY_AUTH_MODE=token if the cluster asks for a token."
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _places(ray: Any) -> str:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    total = ray.cluster_resources()
    return f"{len(nodes)} nodes, {total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs"
