"""Which weights are projected, as which matrices, and why."""

import dataclasses
import re

from keras_dep import deflation
from keras_dep.optimizers.roles import Role
from keras_dep.optimizers.roles import roles

HEADINGS = ("weight", "shape", "projected", "matrix", "why")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One weight.

    Attributes:
        path: that of the variable.
        shape: its shape.
        role: its `Role`.
        projected: whether its gradient is projected.
        why: what decides it.
        is_kept: whether it is a kernel left alone because its gradient may have rank one.
    """

    path: str
    shape: tuple
    role: Role
    projected: bool
    why: str
    is_kept: bool = False

    @property
    def layout(self):
        """The shape whose axes the role means."""
        return self.role.layout or self.shape

    @property
    def matrix(self):
        """Inputs and outputs of the folded weight; `None` where it is no kernel."""
        outputs = self.role.outputs
        return None if outputs is None else deflation.matrix_shape(self.layout, outputs)


def plan(variables, rank_one, exclude, output_axes):
    """An `Entry` for each variable, in order; the arguments are those of `keras_dep.DEP`."""
    return [
        _entry(variable, role, rank_one, exclude, output_axes)
        for variable, role in zip(variables, roles(variables))
    ]


def _entry(variable, role, rank_one, exclude, output_axes):
    path, shape = variable.path, tuple(variable.shape)
    for pattern, axes in output_axes.items():
        if re.search(pattern, path) and not getattr(variable, "overwrite_with_gradient", False):
            role = Role(f"output_axes={axes}", _checked(axes, shape, path))
    entry = Entry(path, shape, role, role.outputs is not None, role.what)
    for pattern in exclude:
        if re.search(pattern, path):
            return dataclasses.replace(entry, projected=False, why=f"excluded by {pattern!r}")
    if entry.projected and rank_one == "keep" and min(entry.matrix) <= 2:
        why = f"{role.what}, with a side of 1 or 2"
        return dataclasses.replace(entry, projected=False, why=why, is_kept=True)
    return entry


def _checked(axes, shape, path):
    try:
        deflation.matrix_shape(shape, axes)
    except ValueError:
        raise ValueError(
            f"output_axes must name axes that the weight has; received {axes} for {path} of "
            f"shape {shape}; narrow the pattern, or count from 0 to {len(shape) - 1}."
        ) from None
    return axes


def table(entries):
    """The entries as text, one line each, in columns."""
    rows = [HEADINGS, *map(_row, entries)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _row(entry):
    matrix = " x ".join(map(str, entry.matrix)) if entry.projected else "-"
    shape = " x ".join(map(str, entry.shape)) or "scalar"
    return entry.path, shape, "yes" if entry.projected else "no", matrix, entry.why
