"""Whether time has been folded into the batch, once, wherever a graph of layers shows it.

A layer cannot see from a tensor whether its rows are samples or steps of samples: it would take one
for the other without a word.
"""

import weakref

import keras

from keras_dep import _backend
from keras_dep._internal import keras_internals
from keras_dep.layers.time_axis import layout


class Timed:
    """Mixin of layers that hold time folded into the batch.

    At each call the layer checks what stands behind its inputs, as far as a graph shows it.

    Attributes:
        timesteps: number of steps `T`.
        folds: whether its outputs hold `T` steps, whatever its inputs.
        unfolds: whether its outputs hold one.
        declares: whether it says of a model's inputs that they hold `T` steps.
        emits_spikes: whether its outputs are spikes.
    """

    folds = unfolds = declares = emits_spikes = False

    def __call__(self, inputs, *args, **kwargs):
        if keras_internals.is_symbolic(inputs):
            _check(self, steps_in(inputs))
        else:
            _check_outermost(self)
        if not self.folds and getattr(inputs, "shape", None):
            layout.check_batch(inputs.shape[0], self.timesteps)
        return super().__call__(inputs, *args, **kwargs)


def steps_in(tensor, given=None, check=False):
    """How many steps of each sample a Keras tensor holds in its batch, and who put them there.

    Args:
        tensor: a symbolic tensor.
        given: results for tensors that are not looked behind, by `id`.
        check: whether every layer on the way is checked too; otherwise the nearest one that counts
            on time is taken at its word.

    Returns:
        `(steps, layer)`, or `None` where the graph does not show it.
    """
    known = dict(given or {})
    stack = [tensor]
    while stack:
        here = stack[-1]
        if id(here) in known:
            stack.pop()
            continue
        layer, inputs, output = keras_internals.origin(here) or (None, [], 0)
        timed = isinstance(layer, Timed) and not check
        sources = [] if timed or not _keeps_rows(layer) else inputs
        missing = [source for source in sources if id(source) not in known]
        if missing:
            stack += missing
            continue
        found = [known[id(source)] for source in sources]
        known[id(here)] = _behind(layer, output, found, check)
        stack.pop()
    return known[id(tensor)]


def _behind(layer, output, sources, check):
    """What `steps_in` says of one of a layer's outputs, given that of its inputs."""
    if isinstance(layer, Timed):
        if check:
            _check(layer, sources[0])
        return (1 if layer.unfolds else layer.timesteps), layer
    if not sources or not _keeps_rows(layer):
        return None
    if isinstance(layer, keras.Model):
        given = {id(inner): found for inner, found in zip(layer.inputs, sources)}
        return steps_in(layer.outputs[output], given, check)
    found = {source[0]: source for source in sources if source is not None}
    return next(iter(found.values())) if len(found) == 1 else None


# What calls a function or a module of somebody's own.
FOREIGN = tuple(
    getattr(keras.layers, name)
    for name in ("Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer")
    if hasattr(keras.layers, name)
)


def _keeps_rows(layer):
    """Whether each row of the outputs is known to come of the same row of the inputs."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, FOREIGN):
        return False
    if isinstance(layer, Timed):
        return True
    if isinstance(layer, keras.Model):
        return _is_graph(layer)
    return type(layer).call.__module__.partition(".")[0] in ("keras", "keras_dep")


def _is_graph(layer):
    own = isinstance(layer, keras.Model) and type(layer).call.__module__.startswith("keras.")
    return own and bool(getattr(layer, "inputs", None))


def _check(layer, found):
    if found is None:
        return
    steps, source = found
    wanted = 1 if layer.folds else layer.timesteps
    declared = layer.declares and isinstance(source, keras.layers.InputLayer)
    if steps == wanted or declared:
        return
    name = f"{type(layer).__name__} {layer.name!r}"
    behind = f"behind {type(source).__name__} {source.name!r}"
    if layer.folds:
        raise ValueError(
            f"{name} must get time unfolded, one row per sample; received {steps} steps in the "
            f"batch {behind}; fold time once."
        )
    if steps == 1:
        raise ValueError(
            f"{name} must get timesteps={wanted} steps folded into the batch; received one row per "
            f"sample {behind}; put keras_dep.DirectEncoding({wanted}) or another encoder "
            f"in between, or keras_dep.layers.Folded({wanted}) where the batch holds the steps "
            "already."
        )
    raise ValueError(
        f"{name} must count as many steps as its inputs hold; received timesteps={wanted} for "
        f"{steps} steps {behind}; give both one number."
    )


_checked = weakref.WeakKeyDictionary()


def _check_outermost(layer):
    """Checks the whole graph of the model that was called, once, if it is one.

    Only there inputs are known to hold a row per sample: those of a model inside may hold steps.
    """
    model = _backend.outermost_call()
    if model is layer or not _is_graph(model):
        return
    graph = [id(tensor) for tensor in model.outputs]
    if _checked.get(model) != graph:
        sources = [keras_internals.origin(tensor).operation for tensor in model.inputs]
        given = {id(tensor): (1, source) for tensor, source in zip(model.inputs, sources)}
        for tensor in model.outputs:
            steps_in(tensor, given, check=True)
        _checked[model] = graph
