"""Programs of tensor operations, in which each layer of neurons runs once for all its steps.

A forward pass that loops over time calls each neuron once per step. An estimator needs all steps of
a layer at once. So the pass is traced to a list of operations, and these are ordered such that a
layer of neurons runs when the inputs of all its steps are known.
"""

from __future__ import annotations

import collections
import heapq
import operator
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import torch
from torch.func import functional_call
from torch.func import functionalize
from torch.fx import Graph
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

from keras_dep.interop.torch_networks.neurons import TorchNeurons

# Operations with a derivative of 0, such as a step, and random ones, by the name after `aten`.
STEPS = frozenset(
    """
    argmax argmin bitwise_and bitwise_not bitwise_or ceil eq floor floor_divide frac ge gt heaviside
    le logical_and logical_not logical_or logical_xor lt ne nonzero one_hot round sgn sign signbit
    topk trunc
    """.split()
)


class Untraceable(Exception):
    """A forward pass cannot be ordered by layers; the message says why, as a clause."""


@torch.library.custom_op("keras_dep::neurons", mutates_args=())
def neurons(inputs: torch.Tensor, layer: int, step: int, what: str) -> torch.Tensor:
    """Stands for the neurons of a layer while a program is traced.

    Args:
        inputs: inputs of a step, or of all steps.
        layer: number of the layer.
        step: number of the step.
        what: `"spikes"`, `"sequence"` (the spikes of all steps), or the index of a state.

    Returns:
        A tensor like the inputs.
    """
    return torch.zeros_like(inputs)


@neurons.register_fake
def _(inputs: torch.Tensor, layer: int, step: int, what: str) -> torch.Tensor:
    return torch.empty_like(inputs)


def node_of(inputs: torch.Tensor, layer: int, step: int, what: str) -> torch.Tensor:
    """Records a call of `neurons` in the program that is being traced."""
    return torch.ops.keras_dep.neurons(inputs, layer, step, what)


class Program:
    """A traced forward pass.

    Args:
        module: the network, whose parameters and buffers are arguments of the program.
        forward: a function of the inputs that calls `module`.
        example: inputs of the shape that the program is for.

    Raises:
        Untraceable: the pass depends on values, or a layer feeds back to itself.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        forward: Callable[[torch.Tensor], torch.Tensor],
        example: torch.Tensor,
    ) -> None:
        names = list(_arguments(module))

        def program(values: Sequence[torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
            return functional_call(_Called(module, forward), _prefixed(names, values), (inputs,))

        values = [value.detach() for value in _arguments(module).values()]
        options: dict[str, Any] = {"tracing_mode": "fake", "_allow_non_fake_inputs": True}
        try:
            with torch.no_grad():
                traced = make_fx(functionalize(program), **options)(values, example.detach())
        except Untraceable:
            raise
        except Exception as error:
            raise Untraceable(_reason(error)) from error
        graph = traced.graph
        _merge_equal(graph)
        graph.eliminate_dead_code()
        self._constants = traced
        self._names = names
        self._holders = [node for node in graph.nodes if node.op == "placeholder"]
        (self._output,) = next(node for node in graph.nodes if node.op == "output").all_input_nodes
        self._schedule = _scheduled(graph)
        self._last = _last_uses(self._schedule, self._output)
        self.layers = {group[0].args[1] for group in self._schedule if _is_neuron(group[0])}
        self.strange = sorted(set(filter(None, map(_strange, graph.nodes))))

    def steps(self) -> dict[int, int]:
        """The number of steps of each layer."""
        groups = [group for group in self._schedule if _is_neuron(group[0])]
        found: dict[int, int] = {}
        for group in groups:
            rows = group[0].meta["tensor_meta"].shape[0]
            whole = any(node.args[3] == "sequence" for node in group)
            found[group[0].args[1]] = rows if whole else len({node.args[2] for node in group})
        return found

    def __call__(
        self,
        module: torch.nn.Module,
        inputs: torch.Tensor,
        layers: Sequence[TorchNeurons],
        note: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        """Runs the program.

        Args:
            module: the network, with its present parameters.
            inputs: inputs of the shape of the example.
            layers: the layers of neurons, by number.
            note: is called with the number, inputs and spikes of each layer.

        Returns:
            The outputs of the pass.
        """
        arguments = _arguments(module)
        known: dict[Node, Any] = {
            holder: arguments[name] for holder, name in zip(self._holders, self._names)
        }
        known[self._holders[-1]] = inputs
        for place, group in enumerate(self._schedule):
            if _is_neuron(group[0]):
                _run_layer(group, known, layers, note)
            elif group[0].op == "get_attr":
                known[group[0]] = operator.attrgetter(group[0].target)(self._constants)
            elif group[0] not in known:
                (node,) = group
                look_up = known.__getitem__
                args = torch.fx.map_arg(node.args, look_up)
                known[node] = node.target(*args, **torch.fx.map_arg(node.kwargs, look_up))
            for node in self._last[place]:
                del known[node]
        return known[self._output]


class _Called(torch.nn.Module):
    def __init__(self, module: torch.nn.Module, forward: Callable) -> None:
        super().__init__()
        self.module = module
        self.run = forward

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.run(inputs)


def _reason(error: Exception) -> str:
    """Why tracing failed, as a clause."""
    text, kind = str(error), type(error).__name__
    if "autograd.Function" in text or "custom_function_call" in text:
        return "a derivative written by hand"
    if "DataDependent" in kind or "data-dependent" in text:
        return "its forward depends on values"
    first = text.strip().partition("\n")[0]
    return f"tracing raised {kind}: {first[:80]}"


def _arguments(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _prefixed(names: Sequence[str], values: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"module.{name}": value for name, value in zip(names, values)}


def _is_neuron(node: Node) -> bool:
    return node.target is torch.ops.keras_dep.neurons.default


def _run_layer(
    group: Sequence[Any],
    known: dict[Node, Any],
    layers: Sequence[TorchNeurons],
    note: Callable | None,
) -> None:
    """Runs a layer on the inputs of all its steps."""
    layer, number = layers[group[0].args[1]], group[0].args[1]
    inputs = {node.args[2]: known[node.args[0]] for node in group}
    whole = any(node.args[3] == "sequence" for node in group)
    folded = inputs[0].flatten(0, 1) if whole else torch.cat([inputs[t] for t in sorted(inputs)])
    found = {}
    for what in sorted({node.args[3] for node in group}):
        spikes = what in ("spikes", "sequence")
        found[what] = layer(folded) if spikes else layer.states(folded, int(what))
        if spikes and note is not None:
            note(number, folded, found[what])
    steps = sorted(inputs)
    parts = {what: each.chunk(len(steps)) for what, each in found.items() if what != "sequence"}
    for node in group:
        if whole:
            known[node] = found[node.args[3]].reshape(inputs[0].shape)
        else:
            known[node] = parts[node.args[3]][steps.index(node.args[2])]


def _scheduled(graph: Graph) -> list[list[Any]]:
    """Groups of nodes in an order in which each follows its inputs; a layer is one group."""
    nodes: list[Any] = [node for node in graph.nodes if node.op != "output"]
    groups: list[list[Any]] = []
    of_layer: dict[int, int] = {}
    place: dict[Node, int] = {}
    for node in nodes:
        if _is_neuron(node):
            place[node] = of_layer.setdefault(node.args[1], len(groups))
        else:
            place[node] = len(groups)
        if place[node] == len(groups):
            groups.append([])
        groups[place[node]].append(node)
    before = [
        {place[source] for node in group for source in node.all_input_nodes} for group in groups
    ]
    if any(here in sources for here, sources in enumerate(before)):
        raise Untraceable("a layer of neurons feeds back to itself")
    after = collections.defaultdict(list)
    for here, sources in enumerate(before):
        for source in sources:
            after[source].append(here)
    waiting = [len(sources) for sources in before]
    ready = [here for here, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        here = heapq.heappop(ready)
        order.append(groups[here])
        for later in after[here]:
            waiting[later] -= 1
            if waiting[later] == 0:
                heapq.heappush(ready, later)
    if len(order) < len(groups):
        raise Untraceable("layers of neurons feed back to each other")
    return order


def _last_uses(schedule: Sequence[Sequence[Node]], output: Node) -> list[list[Node]]:
    """The nodes whose values no later group needs, per group."""
    last = {
        node: place
        for place, group in enumerate(schedule)
        for member in group
        for node in (member, *member.all_input_nodes)
    }
    found: list[list[Node]] = [[] for _ in schedule]
    for node, place in last.items():
        if node is not output:
            found[place].append(node)
    return found


def _merge_equal(graph: Graph) -> None:
    """Merges operations with equal arguments, such as the first layer on a still image."""
    seen: dict[Any, Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or _is_neuron(node) or _is_random(node):
            continue
        key = (node.target, repr(node.args), repr(node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
            graph.erase_node(node)
        else:
            seen[key] = node


def _is_random(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _strange(node: Node) -> str | None:
    """An operation that may spike unknown to an attack, in words."""
    if node.op != "call_function" or _is_neuron(node) or node.target is operator.getitem:
        return None
    space, _, name = str(node.target).partition(".")
    name = name.partition(".")[0]
    if space not in ("aten", "prims"):
        return f"operation {node.target}"
    if _is_random(node):
        return f"random numbers ({name})"
    return f"step ({name})" if name in STEPS else None
