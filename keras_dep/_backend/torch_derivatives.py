"""Hand-written derivatives on torch: one kernel each on a GPU, and for large tensors on a CPU."""

import functools
import os
import shutil
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import torch

from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor


def with_derivative(
    program: Callable[..., Tensor],
    forward: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
    backward: Callable[..., Sequence[Tensor | None]],
) -> Callable[..., Tensor]:
    def run(*tensors: Tensor) -> Tensor:
        # The compiler fuses the program by itself; function transforms differentiate it.
        if torch.compiler.is_compiling() or keras_internals.torch_transforms_active():
            return program(*tensors)
        return _WithDerivative.apply(program, forward, backward, *tensors)

    return run


class _WithDerivative(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        program: Callable[..., Tensor],
        forward: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
        backward: Callable[..., Sequence[Tensor | None]],
        *tensors: Tensor,
    ) -> Tensor:
        ctx.fused = _fuses(tensors[0])
        if ctx.fused:
            outputs = _fused(_forward)(forward, *_arranged(tensors, len(tensors) > 1))
            outputs, kept = outputs.reshape(tensors[0].shape), ()
        else:
            outputs, kept = forward(*tensors)
        ctx.save_for_backward(*tensors, *kept)
        ctx.program, ctx.forward, ctx.derivative = program, forward, backward
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[3:]
        # Under recomputation they can be read only once.
        saved = ctx.saved_tensors
        tensors, kept = saved[: len(wanted)], saved[len(wanted) :]
        # Torch enables gradients here if a second derivative will follow.
        if torch.is_grad_enabled():
            sources = [tensor for tensor, want in zip(tensors, wanted) if want]
            outputs = ctx.program(*tensors)
            options = {"create_graph": True, "materialize_grads": True}
            results = iter(torch.autograd.grad(outputs, sources, gradient, **options))
            found = [next(results) if want else None for want in wanted]
        elif ctx.fused:
            given = _arranged((gradient, *tensors), len(tensors) > 1)
            found = _fused(_backward)(ctx.forward, ctx.derivative, *given)
            found = [found[0].reshape(gradient.shape), *found[1:]]
        else:
            found = ctx.derivative(gradient, kept, *tensors)
        return None, None, None, *found


# Most steps that are fused: the compiler takes a minute for longer programs.
LONGEST_FUSED = 32
# Each surrogate, reset and data type has a program; evaluation goes through many surrogates.
MOST_PROGRAMS = 64
# Fewest elements that are fused on a CPU: from here on the saved time soon repays the compiler's.
FEWEST_FUSED = 2**22


def _fuses(tensor: Tensor) -> bool:
    """Whether to compile all operations into one kernel.

    It saves a GPU their launches, and a CPU most of the traffic to memory. The size alone decides,
    so that a resumed run computes as the one that was stopped.
    """
    device = tensor.device.type
    worth_it = tensor.numel() >= (FEWEST_FUSED if device == "cpu" else 1)
    return worth_it and len(tensor) <= LONGEST_FUSED and _can_fuse(device)


@functools.cache
def _can_fuse(device: str) -> bool:
    """Whether `torch.compile` finds a C compiler and Triton for a GPU, or works on this CPU."""
    if device == "cpu":
        return _compiles()
    compilers = (os.environ.get("CC"), "gcc", "clang", "cc")
    found = any(shutil.which(name) for name in compilers if name)
    return device == "cuda" and found and keras_internals.torch_has_triton()


def _compiles() -> bool:
    """Whether `torch.compile` makes a program for this CPU; a warning tells why not."""
    try:
        torch.compile(_probe)(torch.zeros(2, device="cpu"))
    # Missing compilers and headers end in errors of many kinds.
    except Exception as error:  # noqa: BLE001
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        warnings.warn(
            "neurons of many elements take several times as long as they could: torch.compile "
            f"fails on this CPU ({reason}); install a C++ compiler and Python's header files.",
            stacklevel=2,
        )
        return False
    return True


def _probe(tensor: Tensor) -> Tensor:
    return tensor + 1


@functools.cache
def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    # Dynamic sizes share one program.
    compiled = torch.compile(function, dynamic=True)

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        with keras_internals.torch_programs_up_to(MOST_PROGRAMS):
            return compiled(*arguments)

    return run


def _forward(forward: Callable[..., tuple[Tensor, Any]], *tensors: Tensor) -> Tensor:
    return forward(*tensors)[0]


def _backward(
    forward: Callable[..., tuple[Tensor, Any]],
    backward: Callable[..., Sequence[Tensor | None]],
    gradient: Tensor,
    *tensors: Tensor,
) -> Sequence[Tensor | None]:
    # Recomputing `kept` is faster than reading it from memory.
    return backward(gradient, forward(*tensors)[1], *tensors)


def _arranged(tensors: Sequence[Tensor], constants: bool) -> list[Tensor]:
    """Canonicalises arguments so that equal sizes do not recompile the program.

    The axes after the steps are merged, unless constants are broadcast along them. `data` hides
    from the compiler whether a tensor requires a gradient and whether it is a view: each would
    recompile too.
    """
    return [tensor.data if constants else tensor.flatten(1).data for tensor in tensors]
