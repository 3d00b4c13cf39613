"""Private attributes and modules of Keras and the frameworks that have no public counterpart.

Each function wraps one of them. Nothing else in the package names them, which
`tests/test_architecture.py` checks; `tests/_internal/test_keras_internals.py` has a test of each,
which fails where a new version has moved it. Each function imports the framework that it needs.
"""

import contextlib
import typing
from collections.abc import Generator
from collections.abc import Hashable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from keras_dep._internal.types import Tensor

try:
    from keras.src.backend.common import dtypes
    from keras.src.backend.common import global_state
except ImportError as error:
    raise RuntimeError(
        f"keras_dep needs Keras 3.15; received {keras.__version__} ({error}); "
        "pip install 'keras>=3.15,<3.16'."
    ) from None

# Attributes that Keras sets on layers and models while they are compiled, trained and called.
BOOKKEEPING = frozenset(
    """
    train_function test_function predict_function optimizer loss history training
    stop_training stop_evaluating stop_predicting auto_scale_loss _compile_config _jax_state
    _jax_state_synced _eval_epoch_iterator _has_explicit_input_shape _input_shape_arg
    """.split()
)


# Layers and graphs.


def all_layers(model: keras.Model, include_self: bool = True) -> Sequence[keras.layers.Layer]:
    """Returns the layers of a model at any depth, each once."""
    return model._flatten_layers(include_self=include_self)


def own_weights(layer: keras.layers.Layer) -> tuple[keras.Variable, ...]:
    """Returns the variables that a layer holds itself; none before its constructor has run."""
    own = vars(layer)
    return (*own.get("_trainable_variables", ()), *own.get("_non_trainable_variables", ()))


def set_path(variable: keras.Variable, path: str) -> None:
    """Gives a variable another path, and its last part as the name."""
    variable._path, variable._name = path, path.rpartition("/")[2]


def lambda_output_shape(layer: keras.layers.Lambda) -> Any:
    """Returns the `output_shape` that a `keras.layers.Lambda` was given, or `None`."""
    return layer._output_shape


class Origin(typing.NamedTuple):
    """The operation that a symbolic tensor comes from, its inputs, and which output it is."""

    operation: keras.Operation
    inputs: list[Tensor]
    output: int


def origin(tensor: Tensor) -> Origin | None:
    """Returns the `Origin` of a symbolic tensor, and `None` for any other tensor."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    node = history.operation._inbound_nodes[history.node_index]
    return Origin(history.operation, node.input_tensors, history.tensor_index)


def is_symbolic(tensor: Tensor) -> bool:
    """Whether a tensor belongs to a graph of layers."""
    return getattr(tensor, "_keras_history", None) is not None


# Calls and types.


def entry_layer() -> keras.layers.Layer | None:
    """Returns the layer or model whose call Keras records as the outermost one, or `None`."""
    return getattr(_global_state("current_call_ctx"), "entry_layer", None)


def in_stateless_scope() -> bool:
    """Whether a `keras.StatelessScope` is open."""
    return _global_state("stateless_scope") is not None


def _global_state(name: str) -> Any:
    return global_state.get_global_attribute(name)


def narrowed_dtypes() -> dict[str, str]:
    """Returns Keras' own table from 64-bit types to those that results have in their place."""
    return dtypes.BIT64_TO_BIT32_DTYPE


# Optimizers.


def variable_key(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> Hashable:
    """Returns a hashable key of a variable, equal for its copies on the replicas of a strategy."""
    return optimizer._var_key(variable)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> int:
    """Returns the index of a variable or of its replica among those that an optimizer trains."""
    return optimizer._get_variable_index(variable)


def track_variable(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> None:
    """Adds a variable to those of an optimizer itself."""
    optimizer._track_variable(variable)


def trained_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the variables that an optimizer was built on."""
    return optimizer._trainable_variables


def own_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the variables of an optimizer itself, in the order in which it saves them."""
    return optimizer._variables


def call_count(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Returns the variable in which an optimizer counts its calls, accumulating ones included."""
    return optimizer._iterations


def accumulated_gradient(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> keras.Variable:
    """Returns the variable in which an optimizer accumulates the gradient of a trained one."""
    return optimizer._accumulated_gradients[variable_index(optimizer, variable)]


def decays(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> bool:
    """Whether an optimizer's weight decay applies to a variable."""
    return optimizer._use_weight_decay(variable)


class AveragesOfInner:
    """Mixin of an optimizer wrapper, which shows Keras the moving averages of the inner optimizer.

    `keras.callbacks.SwapEMAWeights` looks for them in the optimizer and one wrapper inside it.
    """

    inner_optimizer: keras.optimizers.Optimizer

    @property
    def _model_variables_moving_average(self) -> Any:
        return self.inner_optimizer._model_variables_moving_average

    @_model_variables_moving_average.setter
    def _model_variables_moving_average(self, averages: Any) -> None:
        # The base constructor assigns its default before there is an inner optimizer.
        if "inner_optimizer" in vars(self):
            self.inner_optimizer._model_variables_moving_average = averages


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Returns the states `(seed, count)` of a model's random generators, which Keras names so."""
    return [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]


# Frameworks.


def torch_transforms_active() -> bool:
    """Whether a transform of `torch.func` is running."""
    import torch

    return torch._C._are_functorch_transforms_active()


def torch_has_triton() -> bool:
    """Whether torch's compiler finds Triton for the GPU at hand."""
    from torch.utils._triton import has_triton

    return has_triton()


def torch_programs_up_to(number: int) -> AbstractContextManager[None]:
    """Lets torch's compiler keep so many programs of one function; by default it stops at 8."""
    import torch._dynamo

    return torch._dynamo.config.patch(recompile_limit=number)


def tensorflow_replicas_meet() -> bool:
    """Whether the current strategy synchronises its replicas to update a variable."""
    import tensorflow as tf

    return not tf.__internal__.distribute.strategy_supports_no_merge_call()


@contextlib.contextmanager
def jax_values(values: Sequence[tuple[keras.Variable, Tensor]]) -> Generator[None, None, None]:
    """A block in which variables of JAX hold other values, where those lie."""
    before = [(variable, variable._value, variable._layout) for variable, _ in values]
    try:
        for variable, value in values:
            variable._value, variable._layout = value, None
        yield
    finally:
        for variable, value, layout in before:
            variable._value, variable._layout = value, layout


def tensorflow_strategy(model: keras.Model) -> Any:
    """Returns the strategy that a model was made under, or `None`."""
    return model._distribute_strategy


@contextlib.contextmanager
def without_tensorflow_strategy(model: keras.Model) -> Generator[None, None, None]:
    """A block in which a model made under a strategy runs as one made without."""
    before = model._distribute_strategy
    model._distribute_strategy = None
    try:
        with outside_tensorflow_strategies():
            yield
    finally:
        model._distribute_strategy = before


@contextlib.contextmanager
def outside_tensorflow_strategies() -> Generator[None, None, None]:
    """A block that runs as outside of the scope of a strategy, which may be open."""
    from tensorflow.python.distribute import distribute_lib

    distribute_lib._push_per_thread_mode(distribute_lib._get_default_replica_mode())
    try:
        yield
    finally:
        distribute_lib._pop_per_thread_mode()


def tensorflow_xla() -> Any:
    """Returns TensorFlow's module of XLA operations."""
    from tensorflow.compiler.tf2xla.python import xla

    return xla


def omit_retracing_warning(function: Any) -> None:
    """Disables the retracing warning, which counts all `tf.function`s of the same code together."""
    if not hasattr(function, "_omit_frequent_tracing_warning"):
        raise AttributeError("_omit_frequent_tracing_warning")
    function._omit_frequent_tracing_warning = True
