"""Networks of SpikingJelly, snnTorch and Norse as Keras models that every attack understands.

`from_torch` is the public name; it alone imports the other files, which need torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_dep._internal.types import ArrayLike


def from_torch(
    module: Any,
    input_shape: Sequence[int],
    timesteps: int | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    *,
    data_format: str = "channels_first",
    sequences: bool | None = None,
    output: int | str = 0,
    images: ArrayLike | None = None,
) -> keras.Model:
    """Makes a Keras model of a spiking torch network, as its authors wrote it.

    The model maps images in [0, 1] to logits. Attacks, evaluation, checklist and training treat it
    like a network of this package: its neurons are layers derived from
    `keras_dep.layers.SpikingLayer`, so that every surrogate and gradient estimator applies to them.
    `module` itself does not change; the model holds a copy. The state of neurons is reset before
    every pass, and in inference mode dropout is off and normalisation uses its running statistics.

    Understood are

    - SpikingJelly: `IFNode`, `LIFNode`, `ParametricLIFNode`, in both step modes;
    - snnTorch: `Leaky` and `Synaptic`, without inhibition, quantised states and graded spikes;
    - Norse: `LIFCell`, `LIF` and `LIFBoxCell`.

    The copy runs the library's own code of a neuron, except for Norse. It is compared with the
    original on `images`: logits must be equal, or within 1e-5 with equal predictions. A network
    with other neurons, steps or random numbers, or one whose forward depends on values or feeds
    back, is wrapped too; `keras_dep.evaluate` then says which attacks are left out, and does not
    call the result reliable.

    Args:
        module: a `torch.nn.Module`.
        input_shape: shape of one image of the model, `(channels, height, width)`; of frames,
            `(T, channels, height, width)`; or a number of features.
        timesteps: number of steps `T` that `module` is given. `None` for a module that takes images
            once and runs over time by itself.
        mean: mean of the pixels, one number or one per channel, subtracted inside the model, so
            that the radius of an attack is in pixels of [0, 1].
        std: their standard deviation, by which they are divided.
        data_format: order of the axes in `input_shape`; `"channels_last"` for images
            `(height, width, channels)`, which `module` gets with channels first.
        sequences: whether `module` takes all steps in one call, `(T, batch, ...)`. Default: whether
            it has modules that do, such as those of SpikingJelly in step mode `m`.
        output: index or key of the logits, where `module` returns several outputs.
        images: images to compare the copy on; default: 8 of uniform noise.

    Returns:
        A `keras.Model` with logits `(batch, classes)` or `(batch, T, classes)`. It cannot be
        written to a `.keras` file; `model.layers[-1].torch_state_dict()` has its weights, for
        `module.load_state_dict`.

    Raises:
        ValueError: another backend than torch; a module that keeps state between calls, has no
            class axis, or cannot be copied; a copy that answers otherwise than the original, with
            the name of the first layer that differs; or an argument that does not suit.

    Example:

    >>> import torch
    >>> from spikingjelly.activation_based import neuron
    >>> body = torch.nn.Flatten(), torch.nn.Linear(12, 4), neuron.LIFNode(), torch.nn.Linear(4, 3)
    >>> model = from_torch(torch.nn.Sequential(*body), (3, 2, 2), timesteps=2)
    >>> model.output_shape
    (None, 2, 3)
    >>> from keras_dep.layers import surrogate_of
    >>> surrogate_of(model)
    'sigmoid, width 0.25'
    """
    if keras.config.backend() != "torch":
        raise ValueError(
            f"from_torch needs Keras' torch backend; received {keras.config.backend()!r}; set "
            "KERAS_BACKEND=torch."
        )
    from keras_dep.interop.torch_networks import building

    return building.build(
        module,
        input_shape,
        timesteps,
        mean,
        std,
        data_format=data_format,
        sequences=sequences,
        output=output,
        images=images,
    )
