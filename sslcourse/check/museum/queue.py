"""Exhibit: a queue that a checkpoint forgets."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import exercise_of, general_mistakes, misses, rejects

# ------------------------------------------------------------------------------- 7. a queue that is not saved


class Queue(nn.Module):
    """Keys of earlier batches, (size, dim): the negatives of the next one."""

    def push(self, keys: Tensor) -> None:
        raise NotImplementedError

    def negatives(self) -> Tensor:
        raise NotImplementedError


class _Ring(Queue):
    """The newest keys, written over the oldest."""

    keys: Tensor
    at: Tensor | int

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("at", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        self.keys[(int(self.at) + torch.arange(len(keys))) % len(self.keys)] = keys
        self.at += len(keys)

    def negatives(self) -> Tensor:
        return self.keys.clone()


class _Line(Queue):
    """New keys in front, old ones dropped behind: no pointer to forget."""

    memory: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("memory", F.normalize(torch.randn(size, dim), dim=1))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        self.memory = torch.cat([keys.flip(0), self.memory])[: len(self.memory)]

    def negatives(self) -> Tensor:
        return self.memory.clone()


class _RingOfParameters(_Ring):
    """Saved because parameters are saved; without a gradient no optimizer touches it."""

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        keys = self.keys
        del self.keys
        self.keys = nn.Parameter(keys, requires_grad=False)


class _RingWithExtraState(Queue):
    """Plain attributes, handed to the checkpoint by hand."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.rows, self.at = F.normalize(torch.randn(size, dim), dim=1), 0

    def push(self, keys: Tensor) -> None:
        for key in keys.detach():
            self.rows[self.at % len(self.rows)] = key
            self.at += 1

    def negatives(self) -> Tensor:
        return self.rows.clone()

    def get_extra_state(self) -> dict:
        return {"rows": self.rows, "at": self.at}

    def set_extra_state(self, state: dict) -> None:
        self.rows, self.at = state["rows"].clone(), state["at"]


class _PlainAttribute(_RingWithExtraState):
    """The same without handing anything over."""

    get_extra_state, set_extra_state = nn.Module.get_extra_state, nn.Module.set_extra_state


class _NotPersistent(_Ring):
    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        for name, value in list(self.named_buffers()):
            self.register_buffer(name, value, persistent=False)


class _PointerForgotten(_Ring):
    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        del self.at
        self.at = 0


class _ListOfBatches(Queue):
    def __init__(self, size: int, dim: int):
        super().__init__()
        self.size, self.batches = size, [F.normalize(torch.randn(size, dim), dim=1)]

    def push(self, keys: Tensor) -> None:
        self.batches.append(keys.detach())

    def negatives(self) -> Tensor:
        return torch.cat(self.batches)[-self.size :]


class _StaleBuffer(_PlainAttribute):
    """A buffer of the right name and shape is in the checkpoint: the queue as it was in the beginning."""

    def __init__(self, size: int, dim: int):
        super().__init__(size, dim)
        self.register_buffer("keys", self.rows.clone())


QUEUE_SIZE, KEY_DIM = 12, 4


def _queue_in_use(kind: Callable) -> tuple:
    queue = kind(QUEUE_SIZE, KEY_DIM)
    for _ in range(3):
        queue.push(torch.randn(5, KEY_DIM))  # 15 keys: it is full, and the next one goes into the middle
    return queue, lambda: kind(QUEUE_SIZE, KEY_DIM)


QUEUE = Exhibit(
    "museum.queue",
    "a queue that is not saved",
    right={
        "a ring of buffers": _Ring,
        "a line without a pointer": _Line,
        "a parameter without gradient": _RingOfParameters,
        "extra state": _RingWithExtraState,
    },
    bugs={
        "a plain attribute": _PlainAttribute,
        "a buffer with persistent=False": _NotPersistent,
        "the pointer is not saved": _PointerForgotten,
        "a list of batches": _ListOfBatches,
        "saved as it was in the beginning": _StaleBuffer,
    },
    arguments=_queue_in_use,
    kept=lambda arguments: {
        "the queue's content": arguments[0].negatives(),
        "the queue's mode": arguments[0].training,
    },
)


def test_queue(queue: Queue, fresh: Callable[[], Queue]) -> None:
    """A queue restored from a checkpoint holds the same keys, and goes on as the other one does."""
    running = copy.deepcopy(queue)  # the training that we are called from must not notice
    restored = fresh()
    restored.load_state_dict(copy.deepcopy(queue.state_dict()))
    for step in range(4):
        assert torch.equal(running.negatives(), restored.negatives()), (
            f"{step} pushes after the checkpoint the queues differ"
        )
        keys = torch.randn(5, queue.negatives().shape[1])
        running.push(keys)
        restored.push(keys)


def _restored(queue: Queue, fresh: Callable[[], Queue]) -> Queue:
    other = fresh()
    other.load_state_dict(queue.state_dict())
    return other


def _queue_of_itself(queue: Queue, fresh: Callable[[], Queue]) -> None:
    before = queue.negatives()
    queue.load_state_dict(queue.state_dict())
    assert torch.equal(queue.negatives(), before), "loading has changed it"


def _queue_copied(queue: Queue, fresh: Callable[[], Queue]) -> None:
    assert torch.equal(copy.deepcopy(queue).negatives(), queue.negatives()), "another queue"


def _queue_shape(queue: Queue, fresh: Callable[[], Queue]) -> None:
    assert _restored(queue, fresh).negatives().shape == queue.negatives().shape, "another shape"


def _queue_content(queue: Queue, fresh: Callable[[], Queue]) -> None:
    assert torch.equal(_restored(queue, fresh).negatives(), queue.negatives()), "other keys"


def _queue_content_whole_rounds(queue: Queue, fresh: Callable[[], Queue]) -> None:
    first = fresh()
    first.push(torch.randn(QUEUE_SIZE, KEY_DIM))
    second, keys = _restored(first, fresh), torch.randn(5, KEY_DIM)
    first.push(keys)
    second.push(keys)
    assert torch.equal(first.negatives(), second.negatives()), "other keys"


def _queue_key_named(queue: Queue, fresh: Callable[[], Queue]) -> None:
    assert "keys" in queue.state_dict(), "the checkpoint has no entry 'keys'"


def _queue_some_entry(queue: Queue, fresh: Callable[[], Queue]) -> None:
    shapes = [v.shape for v in queue.state_dict().values() if isinstance(v, Tensor)]
    assert queue.negatives().shape in shapes, "no tensor of the queue's shape is in the checkpoint"


def _queue_pushed_into(queue: Queue, fresh: Callable[[], Queue]) -> None:
    other = _restored(queue, fresh)
    for _ in range(2):
        assert torch.equal(queue.negatives(), other.negatives()), "other keys"
        keys = torch.randn(5, KEY_DIM)
        queue.push(keys)
        other.push(keys)


def _queue_left_in_eval_mode(queue: Queue, fresh: Callable[[], Queue]) -> None:
    queue.eval()
    test_queue(queue, fresh)


def _queue_entry_by_name(queue: Queue, fresh: Callable[[], Queue]) -> None:
    name = (
        "memory"
        if hasattr(queue, "memory")
        else "_extra_state"
        if hasattr(queue, "rows") and queue.state_dict()
        else "keys"
    )
    saved = queue.state_dict()[name]
    assert torch.equal(saved["rows"] if name == "_extra_state" else saved, queue.negatives())


_QUEUE_MISTAKES = {
    "looks into the file": (
        "It rejects a queue that comes back whole, because its entry in the checkpoint has another name or "
        "form than expected. Restore it, and ask "
        "the restored one.",
        rejects(),
        _queue_key_named,
        _queue_some_entry,
    ),
    "looks only right after loading": (
        "The keys come back, the place where the next one goes does not: the restored queue overwrites "
        "other keys than the running one. Push the "
        "same keys into both and compare again.",
        misses("the pointer is not saved"),
        _queue_content,
        _queue_content_whole_rounds,
    ),
}

QUEUE_EXERCISE = exercise_of(
    QUEUE,
    test_queue,
    general_mistakes(
        test_queue,
        never=(_queue_of_itself, _queue_copied, _queue_shape),
        never_because="Nothing is lost while the object lives: loading a queue into itself, or copying it, "
        "never passes through a checkpoint. Load its state_dict into a fresh one.",
        breaks=(_queue_entry_by_name,),
        traces=(_queue_pushed_into, _queue_left_in_eval_mode),
    ),
    _QUEUE_MISTAKES,
    (
        "What does a resumed training have that the killed one had? Only what went through state_dict().",
        (
            "restored = fresh(); restored.load_state_dict(queue.state_dict()). Then let both go on side by "
            "side, a copy in place of the queue itself."
        ),
        "running = copy.deepcopy(queue); four times: compare running.negatives() with "
        "restored.negatives(), then push the same torch.randn(5, 4) "
        "into both.",
    ),
)
