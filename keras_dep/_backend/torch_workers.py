"""Data parallelism of torch: one process per device, started by torchrun."""

import datetime
import os
from typing import Any

import torch
from torch import distributed

from keras_dep._backend.workers import Processes
from keras_dep._backend.workers import Workers
from keras_dep._backend.workers import environment_number
from keras_dep._internal.types import Tensor

LAUNCH = "torchrun --standalone --nproc-per-node=2"
# A worker that has died is noticed by torchrun at once; this limit is for one that hangs.
PATIENCE = datetime.timedelta(minutes=30)


class Launched(Processes):
    """The processes of torchrun.

    Keras 3.15 has no data parallelism on torch, and its train step calls the model itself, not a
    `DistributedDataParallel` around it. So the gradients are averaged by the same collective.
    """

    def gathered(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value)
        return found

    def mean(self, tensor: Tensor) -> Tensor:
        return _Mean.apply(tensor, self)

    def total(self, tensor: Tensor) -> Tensor:
        found = tensor.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(found)
        return found

    def leave(self) -> None:
        distributed.barrier()


class _Mean(torch.autograd.Function):
    """The mean over all processes, and of its derivative over all processes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.total(tensor) / processes.count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Mean.apply(gradient, ctx.processes), None


def start_ddp(devices: int | None) -> Workers:
    if devices is not None:
        raise ValueError(
            f"devices must be None for distribute=ddp, whose processes have one each; received "
            f"{devices}; give torchrun --nproc-per-node={devices}."
        )
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
    rank, count, device, _ = (environment_number(name, "ddp", LAUNCH) for name in names)
    if torch.cuda.is_available():
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        # Objects are gathered over gloo, which needs no room on the GPU.
        kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
        store, rank, count = next(distributed.rendezvous("env://", timeout=PATIENCE))
        # torchrun keeps the store when it starts the workers again: without a name of its own, an
        # attempt may read the addresses of the one before.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = distributed.PrefixStore(f"keras_dep attempt {attempt}", store)
        distributed.init_process_group(
            kind, store=store, rank=rank, world_size=count, timeout=PATIENCE
        )
    return Launched(engine="ddp", rank=rank, count=count)


ENGINES = {"ddp": start_ddp}
