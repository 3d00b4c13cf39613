"""Folding time into the batch, and unfolding it."""

from typing import Any

from keras import ops

from keras_dep._internal.types import Tensor


def check_timesteps(timesteps: Any) -> None:
    """Raises `ValueError` unless `timesteps` is an integer of at least 1."""
    if isinstance(timesteps, bool) or not isinstance(timesteps, int) or timesteps < 1:
        raise ValueError(
            f"timesteps must be an integer of at least 1; received {timesteps!r}; 4 is usual."
        )


def unfold(tensor: Tensor, timesteps: int) -> Tensor:
    """`(T * batch, ...)`, time-major, to `(T, batch, ...)`."""
    shape = ops.shape(tensor)
    check_batch(shape[0], timesteps)
    batch = shape[0] // timesteps
    return ops.reshape(tensor, (timesteps, batch, *shape[1:]))


def fold(tensor: Tensor) -> Tensor:
    """`(T, batch, ...)` to `(T * batch, ...)`."""
    shape = ops.shape(tensor)
    return ops.reshape(tensor, (shape[0] * shape[1], *shape[2:]))


def check_batch(size: Any, timesteps: int) -> None:
    """Raises `ValueError` if a batch size is known and not a multiple of `timesteps`."""
    if isinstance(size, int) and size % timesteps:
        raise ValueError(
            f"the batch must hold every sample at timesteps={timesteps} steps; received {size} "
            f"rows, not a multiple of {timesteps}; fold time by keras_dep.FoldTime or an encoder."
        )
