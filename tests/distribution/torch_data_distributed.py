"""A loop of one's own under DistributedDataParallel; the environment says which process this is."""

import datetime
import faulthandler
import os
import sys

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from tests.support import replicas


def main(source, folder):
    # A process that hangs says where.
    faulthandler.dump_traceback_later(100, exit=True)
    given = np.load(source)
    distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    rank = distributed.get_rank()
    for name, step in (("reduced", reduced_step), ("apart", apart_step)):
        replica, optimizer = DistributedDataParallel(replicas.network(given)), replicas.optimizer()
        optimizer.build(replica.module.trainable_variables)
        for batch in zip(*(np.split(given[key], replicas.STEPS) for key in "xy")):
            step(replica, optimizer, *(np.split(v, replicas.REPLICAS)[rank] for v in batch))
        weights = replica.module.get_weights()
        replicas.save(f"{folder}/{name}_{rank}.npz", weights, optimizer)
    distributed.barrier()
    # No teardown: gloo's has been seen to wait for ever for a process that had left.
    os._exit(0)


def reduced_step(replica, optimizer, x, y):
    variables = replica.module.trainable_variables
    gradients = derive(replica, x, y)
    with torch.no_grad():
        optimizer.apply(gradients, variables)


def apart_step(replica, optimizer, x, y):
    """What DEP must not do: each process projects its own part of the gradient."""
    variables = replica.module.trainable_variables
    with replica.no_sync():
        gradients = derive(replica, x, y)
    with torch.no_grad():
        gradients = optimizer.transform(gradients, variables)
        for gradient in gradients:
            distributed.all_reduce(gradient)
            gradient /= replicas.REPLICAS
        optimizer.inner_optimizer.apply(gradients, variables)


def derive(replica, x, y):
    replica.zero_grad()
    logits = replica(torch.from_numpy(x), training=True)
    replicas.loss()(torch.from_numpy(y), logits).backward()
    return [variable.value.grad for variable in replica.module.trainable_variables]


if __name__ == "__main__":
    main(*sys.argv[1:])
