"""Several processes as one: PyTorch's engine underneath, and in one process everything here is the identity.

`torchrun --nproc-per-node N -m sslcourse train ...` starts N processes. Each takes its part of every batch;
gradients are averaged by DistributedDataParallel. What that alone gets wrong is mended here:

- *negatives*: `gather` collects the embeddings of all processes and lets gradients flow back to where they
  came from. The usual `dist.all_gather` prints the right loss with half the gradient.
- *batch statistics*: `synchronize_batch_norm` uses those of the whole batch, also on CPUs, where PyTorch's
own cannot."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import weakref

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import Number


def start() -> tuple[int, int]:
    """Join the processes that torchrun started. Returns (rank, world): (0, 1) when there is only one."""
    if _said_by_torchrun("WORLD_SIZE", 1) > 1 and not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(_said_by_torchrun("LOCAL_RANK", 0))
        dist.init_process_group("nccl" if cuda else "gloo")
    return rank(), world()


def _said_by_torchrun(name: str, default: int) -> int:
    value = os.environ.get(name)
    return (
        default
        if value is None
        else Number(0, 65_535).read(value, f"the variable {name}, which torchrun sets")
    )


def stop() -> None:
    """Leave the group of processes, if there is one, all at the same time.

    The engines go first: what they hold of the group would otherwise outlive it, and a process that ends with
    the group's threads still running is aborted."""
    if dist.is_available() and dist.is_initialized():
        _engines.clear()
        gc.collect()
        # after an error the others may never come: leave at once, torchrun ends them
        if sys.exc_info()[0] is None:
            dist.barrier()
        dist.destroy_process_group()


def world() -> int:
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0; process 0 writes files and prints."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def barrier() -> None:
    if world() > 1:
        dist.barrier()


def from_first(value):
    """The first process's value (plain, no tensors) on all of them; the value itself in one process."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def one_of_all(value: bool) -> bool:
    """Whether it is true on one of the processes; all of them must ask, and all get the same answer."""
    if world() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    found = torch.tensor(int(value), device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


class _Gather(torch.autograd.Function):
    """Forward: every process gets everybody's rows. Backward: every process gets the sum of all gradients on
    its own rows.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        start = dist.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows]


def gather(x: Tensor) -> Tensor:
    """(N, D) on each of W processes to (W N, D) on all, with gradients; x itself in one process.

    Every process must then compute the loss over all rows. Its gradient through `x` is W times its share,
    which the mean over processes of DistributedDataParallel turns into the gradient of one process holding
    all the data."""
    return _Gather.apply(x) if world() > 1 else x


class _Sum(torch.autograd.Function):
    """all_reduce(sum) whose gradient is all_reduce(sum) again."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the samples of all processes, on any device (PyTorch's SyncBatchNorm needs
    CUDA).
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"batch normalisation of shape {tuple(x.shape)}; expected (B, C, ...)")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world() == 1:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        wide = x if x.dtype == torch.float64 else x.float()
        count = torch.full((1,), wide.numel() / wide.shape[1], device=x.device, dtype=wide.dtype)
        sums = _Sum.apply(torch.cat([wide.sum(axes), (wide * wide).sum(axes), count]))
        total, square, count = sums.split([self.num_features, self.num_features, 1])
        mean = total / count
        variance = (square / count - mean * mean).clamp_min(0)
        running_mean, running_var, momentum = self.running_mean, self.running_var, self.momentum
        if (
            running_mean is None
            or running_var is None
            or momentum is None
            or self.num_batches_tracked is None
        ):
            raise CourseError(f"{self} keeps no running mean; use track_running_stats and a momentum")
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            unbiased = variance * count / (count - 1).clamp_min(1)
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        y = (wide - mean.view(shape)) * torch.rsqrt(variance.view(shape) + self.eps)
        return (y * self.weight.view(shape) + self.bias.view(shape) if self.affine else y).to(x.dtype)


def synchronize_batch_norm(network: nn.Module) -> nn.Module:
    """Replace every batch normalisation by one over all processes, in place; nothing happens in one alone."""
    if world() == 1:
        return network
    if next(network.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SyncedBatchNorm):
                new = SyncedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
                new.load_state_dict(child.state_dict())
                if child.affine:
                    # a momentum encoder's stays out of the gradient's reach
                    new.requires_grad_(child.weight.requires_grad)
                device = next(itertools.chain(child.parameters(), child.buffers())).device
                setattr(parent, name, new.to(device).train(child.training))
    return network


_engines: weakref.WeakKeyDictionary[nn.Module, nn.Module] = weakref.WeakKeyDictionary()


def parallel(method: nn.Module) -> nn.Module:
    """The method itself, or PyTorch's data-parallel engine around it, which averages gradients in the
    backward pass.
    """
    if world() == 1:
        return method
    if method not in _engines:
        ids = [torch.cuda.current_device()] if next(method.parameters()).is_cuda else None
        # Buffers are kept equal by the synchronised statistics; broadcasting them would only cost time.
        engine = nn.parallel.DistributedDataParallel(method, device_ids=ids, broadcast_buffers=False)
        _engines[method] = engine
    return _engines[method]
