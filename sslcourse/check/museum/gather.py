"""Exhibit: gathering embeddings from all processes without losing the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import assert_true, exercise_of, general_mistakes, misses, rejects

# ------------------------------------------------------------------------------ 2. gradients through a gather


def _gather(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat(list(parts))


def _gather_by_stacking(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.stack(list(parts)).flatten(0, 1)


class _Collect(torch.autograd.Function):
    """Written out as a library does it: what comes back is dealt to the processes that the rows came from."""

    @staticmethod
    def forward(ctx, *parts: Tensor) -> Tensor:
        ctx.rows = [len(p) for p in parts]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return tuple(gradient.split(ctx.rows))


def _gather_written_out(parts: Sequence[Tensor], rank: int) -> Tensor:
    return _Collect.apply(*parts)


def _gather_into_place(parts: Sequence[Tensor], rank: int) -> Tensor:
    n = len(parts[0])
    return torch.stack([F.pad(p, (0, 0, i * n, (len(parts) - 1 - i) * n)) for i, p in enumerate(parts)]).sum(
        0
    )


def _gather_without_gradient(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([p.detach() for p in parts])


def _gather_own_put_back(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([p if i == rank else p.detach() for i, p in enumerate(parts)])


def _gather_one_hop(parts: Sequence[Tensor], rank: int) -> Tensor:
    live = {rank, (rank + 1) % len(parts)}
    return torch.cat([p if i in live else p.detach() for i, p in enumerate(parts)])


def _gather_first_process(parts: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat(list(parts)) if rank == 0 else _gather_without_gradient(parts, rank)


def _gather_averaged(parts: Sequence[Tensor], rank: int) -> Tensor:
    everybody = torch.cat(list(parts))
    return everybody.detach() + (everybody - everybody.detach()) / len(parts)


GATHER = Exhibit(
    "museum.gather",
    "gather without gradient",
    right={
        "one after the other": _gather,
        "stacked": _gather_by_stacking,
        "a backward pass written out": _gather_written_out,
        "each put into its place": _gather_into_place,
    },
    bugs={
        "no gradient": _gather_without_gradient,
        "own rows put back": _gather_own_put_back,
        "only to the next process": _gather_one_hop,
        "only in the first process": _gather_first_process,
        "divided by the processes": _gather_averaged,
        "own rows only": lambda parts, rank: parts[rank],
    },
)


def test_gather(gather: Callable) -> None:
    """In every process the rows of all, in order, and the whole gradient back to each of them, for two
    processes and for three.
    """
    for world in (2, 3):
        parts = [torch.randn(4, 5, requires_grad=True) for _ in range(world)]
        for rank in range(world):
            everybody = gather(parts, rank)
            assert torch.equal(everybody, torch.cat(parts)), (
                f"process {rank} of {world} does not see the rows of all, in order"
            )
            assert everybody.requires_grad, f"no gradient leaves process {rank} of {world}"
            weight = torch.randn_like(everybody)  # what a loss would send back: another number to each entry
            came = torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True)
            for i, (gradient, sent) in enumerate(zip(came, weight.chunk(world))):
                assert gradient is not None, f"process {i} of {world} gets no gradient from process {rank}"
                assert torch.allclose(gradient, sent), (
                    f"process {i} of {world} gets another gradient than process {rank} sent"
                )


def _gather_values(gather: Callable) -> None:
    parts = [torch.randn(3, 2) for _ in range(3)]
    for rank in range(3):
        assert torch.equal(gather(parts, rank), torch.cat(parts)), "not the rows of all"


def _gather_gradients(
    world: Sequence[int] = (2, 3),
    ranks: Callable[[int], Sequence[int]] = range,
    whose: Callable[[int, int], Sequence[int]] = lambda world, rank: range(world),
    enough: Callable[[Tensor, Tensor], bool] = torch.allclose,
) -> Callable:
    """The reference with parts left out."""

    def test(gather: Callable) -> None:
        for w in world:
            parts = [torch.randn(3, 2, requires_grad=True) for _ in range(w)]
            for rank in ranks(w):
                everybody = gather(parts, rank)
                assert everybody.shape == (3 * w, 2) and everybody.requires_grad, "no gradient"
                weight = torch.rand_like(everybody) + 0.5
                came = torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True)
                for i in whose(w, rank):
                    assert came[i] is not None and enough(came[i], weight.chunk(w)[i]), (
                        "the gradient is wrong"
                    )

    return test


def _gather_some_gradient(gather: Callable) -> None:
    for world in (2, 3):
        for rank in range(world):
            parts = [torch.randn(3, 2, requires_grad=True) for _ in range(world)]
            everybody = gather(parts, rank)
            assert len(everybody) == 3 * world and everybody.requires_grad, "nothing comes back"
            everybody.sum().backward()
            assert any(p.grad is not None for p in parts), "nothing comes back"


def _gather_by_name(gather: Callable) -> None:
    test_gather(gather)
    parts = [torch.randn(3, 2, requires_grad=True) for _ in range(2)]
    assert "Cat" in type(gather(parts, 0).grad_fn).__name__, "it should be torch.cat"


def _gather_assuming_a_gradient(gather: Callable) -> None:
    parts = [torch.randn(3, 2, requires_grad=True) for _ in range(2)]
    everybody = gather(parts, 0)
    assert torch.equal(everybody, torch.cat(parts))
    everybody.sum().backward()
    assert all(p.grad is not None and torch.equal(p.grad, torch.ones(3, 2)) for p in parts)


_GATHER_MISTAKES = {
    "demands one way to write it": (
        "It rejects a gather that does its work, because it is written in another way. What may a caller "
        "rely on: how it is done, or what comes "
        "out and what flows back?",
        rejects(),
        _gather_by_name,
    ),
    "looks at the value, not the gradient": (
        "Every process gets the right rows, so the loss is right to the last digit; the gradient is not. "
        "Send something back through the gathered "
        "rows and see where it arrives.",
        misses("no gradient"),
        _gather_values,
    ),
    "looks at a process's own rows only": (
        "It asks whether some gradient arrives, or whether a process's *own* rows get theirs. That is how "
        "this bug is usually half mended: the "
        "own rows are put back, the rows of the others stay cut off. Ask for each part.",
        misses("own rows put back"),
        _gather_some_gradient,
        _gather_gradients(whose=lambda world, rank: [rank]),
    ),
    "knows only two processes": (
        "With two processes the next one is also the last one. Test with three.",
        misses("only to the next process"),
        _gather_gradients(world=(2,)),
    ),
    "looks from the first process only": (
        (
            "It calls the gather as process 0 alone. Every process computes a loss and sends its gradient "
            "back: try each rank."
        ),
        misses("only in the first process"),
        _gather_gradients(ranks=lambda world: [0]),
    ),
    "asks whether, not how much": (
        "It is content with a gradient that is not zero. Divided by the number of processes it is not zero "
        "either, and the learning rate is "
        "silently another. Compare with what was sent.",
        misses("divided by the processes"),
        _gather_gradients(enough=lambda came, sent: bool(came.abs().sum() > 0)),
    ),
}

GATHER_EXERCISE = exercise_of(
    GATHER,
    test_gather,
    general_mistakes(
        test_gather,
        never=(lambda gather: assert_true(torch.isfinite(gather([torch.randn(3, 2)] * 2, 0)).all()),),
        never_because="Finite rows of the right width come out of a broken gather too.",
        breaks=(_gather_assuming_a_gradient,),
    ),
    _GATHER_MISTAKES,
    (
        "The loss is the same with and without the bug. What else does training take from it?",
        (
            "Make the parts with requires_grad=True, gather, multiply by random weights and sum: what should "
            "come back to part i?"
        ),
        "torch.autograd.grad((everybody * weight).sum(), parts, allow_unused=True) must be "
        "weight.chunk(world), for every rank, with 2 and 3 parts; "
        "first assert everybody.requires_grad.",
    ),
)
