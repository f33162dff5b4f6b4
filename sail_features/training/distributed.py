"""Several processes that train one model, each on its share of every batch.

``torchrun`` starts them; alone, every function here is the identity. A contrastive loss
gathers the vectors of all processes, so that each is held against the whole batch, and
the gradient flows back through the gathering: averaged over processes it is exactly that
of one process with the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that ``torchrun`` started; without it, do nothing.

    NCCL where each process has a GPU, else gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def main_first() -> Iterator[None]:
    """Let the first process do something before the others do, such as fill a cache."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world_size() > 1:
        dist.barrier()


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks; all hold equally many."""
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows.contiguous())
    return gathered


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a value over all processes, without its gradient."""
    value = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


class _Gather(torch.autograd.Function):  # type: ignore[misc]  # torch has no types here
    """Concatenates the rows of all processes; a row's gradient is summed over them all."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        first = rank() * context.count
        return summed[first : first + context.count]
