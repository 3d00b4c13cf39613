"""Time folded into the batch, and back."""

from keras import ops


def check_timesteps(timesteps):
    """Raises `ValueError` unless `timesteps` is an integer of at least 1."""
    if isinstance(timesteps, bool) or not isinstance(timesteps, int) or timesteps < 1:
        raise ValueError(f"timesteps must be an integer of at least 1; received {timesteps!r}.")


def unfold(tensor, timesteps):
    """`(T * batch, ...)` to `(T, batch, ...)`, where the rows are whole steps."""
    shape = ops.shape(tensor)
    check_batch(shape[0], timesteps)
    batch = shape[0] // timesteps
    return ops.reshape(tensor, (timesteps, batch, *shape[1:]))


def fold(tensor):
    """`(T, batch, ...)` to `(T * batch, ...)`."""
    shape = ops.shape(tensor)
    return ops.reshape(tensor, (shape[0] * shape[1], *shape[2:]))


def check_batch(size, timesteps):
    """Raises `ValueError` unless a batch of `size` rows, where that is known, holds whole steps."""
    if isinstance(size, int) and size % timesteps:
        raise ValueError(
            f"the batch must hold every sample at timesteps={timesteps} steps; received {size} "
            f"rows, not a multiple of {timesteps}; fold time by keras_dep.FoldTime or an encoder."
        )
