"""Several processes, one run: gradients are averaged by flat all-reduce once an update. Networks stay unwrapped.

Started by ``torchrun`` (RANK, WORLD_SIZE, LOCAL_RANK); without it there is one rank and every call here is free.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from agon.errors import UserError

BUCKET = 8 * 1024 * 1024
"""Elements in one all-reduce."""


@dataclass(frozen=True)
class Ranks:
    """This process among the others."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """This rank's part of a batch. Raises UserError where it cannot be shared evenly."""
        if batch_size % self.world:
            raise UserError(
                "A batch of {batch} cannot be shared by {world} processes. Expected a batch_size that {world} divides.", batch=batch_size, world=self.world
            )
        return batch_size // self.world

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in place; all ranks must hold the same shapes in the same order."""
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        for tensor in tensors:
            bucket.append(tensor)
            if sum(t.numel() for t in bucket) >= BUCKET:
                self._average_bucket(bucket)
                bucket = []
        if bucket:
            self._average_bucket(bucket)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the ranks of a tensor, as a new one."""
        value = value.detach().clone()
        if self.world > 1:
            dist.all_reduce(value)
            value /= self.world
        return value

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up on any rank."""
        return bool(self.mean(torch.tensor(float(flag), device=device)) > 0) if self.world > 1 else flag

    @torch.no_grad()
    def broadcast(self, module: nn.Module) -> None:
        """Give every rank the first one's parameters and buffers."""
        if self.world > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()

    def _average_bucket(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([t.reshape(-1) for t in bucket])
        dist.all_reduce(flat)
        flat /= self.world
        for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            tensor.copy_(part.view(tensor.shape))


def join() -> Ranks:
    """The ranks of this launch; initialises torch.distributed under torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return Ranks(dist.get_rank(), dist.get_world_size())
