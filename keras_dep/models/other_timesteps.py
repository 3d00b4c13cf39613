"""The same network at another number of time steps."""

import keras

from keras_dep._internal import validation


def with_timesteps(model: keras.Model, timesteps: int) -> keras.Model:
    """A copy of a network, with its weights, that takes another number of steps.

    Args:
        model: a functional or sequential `keras.Model` whose layers know their number of steps by
            an argument `timesteps`, as those of `keras_dep.models` do.
        timesteps: the number of steps `T` of the copy.

    Returns:
        A `keras.Model` with the weights of `model` as they are now.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1, no layer has time steps, or a layer
            has weights of single steps.

    Example:

    >>> from keras_dep import LIF, DirectEncoding, UnfoldTime
    >>> layers = [keras.layers.Dense(2), DirectEncoding(4), LIF(4), UnfoldTime(4)]
    >>> model = keras.Sequential([keras.Input((3,)), *layers])
    >>> with_timesteps(model, 8).output_shape
    (None, 8, 2)
    """
    validation.whole_number("timesteps", timesteps)
    changed = []
    for layer in model.layers:
        if getattr(layer, "weights_per_step", False):
            raise ValueError(
                "model must have weights that all steps share, to run for another number of steps; "
                f"received {model.name!r} with {type(layer).__name__}."
            )

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if "timesteps" in config:
            changed.append(layer.name)
            config["timesteps"] = timesteps
        return type(layer).from_config(config)

    found = keras.models.clone_model(model, clone_function=copy)
    if not changed:
        raise ValueError(
            f"model must have layers with time steps; received {model.name!r} without any; give a "
            "spiking network."
        )
    found.set_weights(model.get_weights())
    return found
