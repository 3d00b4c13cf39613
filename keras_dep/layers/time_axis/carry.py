"""The state of a layer between two parts of a sequence of steps."""

import dataclasses

from keras_dep._internal.types import Tensor


@dataclasses.dataclass(eq=False)
class Carry:
    """What a layer with memory takes over from the steps before a call, and leaves behind.

    A layer that has one as its attribute `carry` starts from `start` and sets `last`, without
    gradient. `LIF` and `Integrator` carry membranes, `TimeSharedDropout` its mask.

    Attributes:
        start: a tensor `(batch, ...)`, or `None` at the first step.
        last: a tensor `(batch, ...)`, or `None` for a layer without memory.
    """

    start: Tensor | None = None
    last: Tensor | None = None
