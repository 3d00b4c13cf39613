"""The weights that are projected, their matrices, and the reasons."""

import dataclasses
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_dep import deflation
from keras_dep.deflation.projection import OutputAxes
from keras_dep.optimizers.roles import Role
from keras_dep.optimizers.roles import roles

HEADINGS = ("weight", "shape", "projected", "matrix", "why")


@dataclasses.dataclass(frozen=True)
class Entry:
    """The decision for one weight.

    Attributes:
        path: path of the variable.
        shape: shape of the variable.
        role: role of the variable in its layer.
        projected: whether its gradient is projected.
        why: the reason, in words.
        is_kept: whether it is a kernel that is not projected because its gradient may have rank
            one.
    """

    path: str
    shape: tuple[int, ...]
    role: Role
    projected: bool
    why: str
    is_kept: bool = False

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape to which `role.outputs` refers."""
        return self.role.layout or self.shape

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Numbers of inputs and outputs of the folded weight; `None` for other weights."""
        outputs = self.role.outputs
        return None if outputs is None else deflation.matrix_shape(self.layout, outputs)


def plan(
    variables: Sequence[keras.Variable],
    rank_one: str,
    exclude: Sequence[str],
    output_axes: Mapping[str, OutputAxes],
) -> list[Entry]:
    """Decides for each variable whether, and as which matrix, its gradient is projected.

    Args:
        variables: the trained variables.
        rank_one: `"keep"` or `"remove"`; see `keras_dep.DEP`.
        exclude: regular expressions of paths that are not projected.
        output_axes: output axes by regular expression of the path.

    Returns:
        An `Entry` for each variable, in order.

    Raises:
        ValueError: `output_axes` that a weight does not have.
    """
    return [
        _entry(variable, role, rank_one, exclude, output_axes)
        for variable, role in zip(variables, roles(variables))
    ]


def _entry(
    variable: keras.Variable,
    role: Role,
    rank_one: str,
    exclude: Sequence[str],
    output_axes: Mapping[str, OutputAxes],
) -> Entry:
    path, shape = variable.path, tuple(variable.shape)
    for pattern, axes in output_axes.items():
        if re.search(pattern, path) and not getattr(variable, "overwrite_with_gradient", False):
            role = Role(f"output_axes={axes}", _checked(axes, shape, path))
    entry = Entry(path, shape, role, role.outputs is not None, role.what)
    for pattern in exclude:
        if re.search(pattern, path):
            return dataclasses.replace(entry, projected=False, why=f"excluded by {pattern!r}")
    if entry.matrix is not None and rank_one == "keep" and min(entry.matrix) <= 2:
        why = f"{role.what}, with a side of 1 or 2"
        return dataclasses.replace(entry, projected=False, why=why, is_kept=True)
    return entry


def _checked(axes: OutputAxes, shape: tuple[int, ...], path: str) -> OutputAxes:
    try:
        deflation.matrix_shape(shape, axes)
    except ValueError:
        raise ValueError(
            f"output_axes must be axes of the weight; received {axes} for {path} of shape {shape}; "
            f"narrow the pattern, or use axes from 0 to {len(shape) - 1}."
        ) from None
    return axes


def table(entries: Iterable[Entry]) -> str:
    """Formats entries as a text table, one line each."""
    lines_of_cells = [HEADINGS, *map(_cells, entries)]
    widths = [max(map(len, column)) for column in zip(*lines_of_cells)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths))
        for cells in lines_of_cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _cells(entry: Entry) -> tuple[str, ...]:
    matrix = " x ".join(map(str, entry.matrix)) if entry.projected and entry.matrix else "-"
    shape = " x ".join(map(str, entry.shape)) or "scalar"
    return entry.path, shape, "yes" if entry.projected else "no", matrix, entry.why
