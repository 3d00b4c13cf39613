"""One table of all runs of a grid, read from their folders."""

import os
from collections import Counter
from collections.abc import Iterable

from keras_dep._internal import atomic_io
from keras_dep.experiments import grid
from keras_dep.training import state_file


def rows(cells: Iterable[grid.Cell], out_dir: str) -> list[tuple[str, str, str]]:
    """Each run with its state and its finished epochs.

    The state is `"new"`, `"begun"`, `"finished"`, or `"failed"` with the reason. A run that was
    begun trains now or was broken off: its folder does not say which.

    Args:
        cells: the runs.
        out_dir: folder of all runs.

    Returns:
        List of run, state and epochs in words.

    Example:

    >>> import tempfile
    >>> rows(grid.product({"epochs": 5}, ["sgd"], [0]), tempfile.mkdtemp())
    [('digits vgg5 sgd, c/+p_0, 1 batch, seed 0', 'new', '0 of 5')]
    """
    found = []
    for cell in grid.unique(cells):
        state, total = cell.state(out_dir), cell.settings.epochs
        done = total if state == grid.FINISHED else 0
        if state == grid.UNFINISHED:
            done = state_file.epochs_completed(os.path.join(cell.folder(out_dir), "state"))
            reason = _failure(cell, out_dir)
            state = "begun" if reason is None else f"failed: {reason}"
        found.append((grid.describe(cell), state, f"{done} of {total}"))
    return found


def write(path: str, cells: Iterable[grid.Cell], out_dir: str) -> None:
    """Writes the table as Markdown, with the number of runs in each state above it.

    Args:
        path: the file.
        cells: the runs.
        out_dir: folder of all runs.
    """
    found = rows(cells, out_dir)
    states = Counter(state.partition(":")[0] for _, state, _ in found)
    summary = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    lines = [f"{len(found)} runs: {summary}", "", "| run | state | epochs |", "|---|---|---:|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in found]
    os.makedirs(out_dir, exist_ok=True)
    with atomic_io.whole_file(path) as unfinished, open(unfinished, "w") as file:
        file.write("\n".join(lines) + "\n")


def _failure(cell: grid.Cell, out_dir: str) -> str | None:
    try:
        return grid.failure(cell, out_dir)
    except ValueError as error:
        return grid.one_line(error)
