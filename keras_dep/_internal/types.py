"""Types for annotations: the class of a tensor depends on the framework chosen at run time."""

from typing import Any
from typing import TypeAlias

import numpy.typing as npt

# A tensor of the backend, or symbolic.
Tensor: TypeAlias = Any
# An argument of `keras.ops.convert_to_tensor`.
ArrayLike: TypeAlias = npt.ArrayLike | Tensor
Array: TypeAlias = npt.NDArray[Any]
# Sizes of axes; None where unknown.
Shape: TypeAlias = tuple[int | None, ...]
# A dictionary that JSON can hold.
Record: TypeAlias = dict[str, Any]
