"""Names for what annotations speak of: tensors belong to a framework that is chosen at run time."""

from typing import Any
from typing import TypeAlias

import numpy.typing as npt

# A tensor of the backend, or symbolic.
Tensor: TypeAlias = Any
# What `keras.ops.convert_to_tensor` takes.
ArrayLike: TypeAlias = npt.ArrayLike | Tensor
Array: TypeAlias = npt.NDArray[Any]
# Sizes of axes; None where unknown.
Shape: TypeAlias = tuple[int | None, ...]
# A dictionary that JSON keeps.
Record: TypeAlias = dict[str, Any]
