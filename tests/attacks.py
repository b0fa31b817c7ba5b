"""Answers that do not compute anything from what they are given, made for any exercise out of its reference.

`of` yields them by name. An answer is an attack only where it answers otherwise than the reference on the
inputs that it would meet: the mean of a batch does not depend on its order, and then the changed order is
right. Whether that is so is found by running the reference, not by asking the checker.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sslcourse import check
from sslcourse.check import engine


class Recorder:
    """The reference, which keeps what it was given and what came of it."""

    def __init__(self, reference: Callable):
        self.reference, self.calls = reference, []

    def __call__(self, *arguments, **named):
        given = kept((arguments, named))
        try:
            value = self.reference(*arguments, **named)
        except Exception as error:
            self.calls.append((given, error, None))
            raise
        # What it did to its arguments counts as well: some exercises change what they are given.
        self.calls.append((given, kept(value), kept((arguments, named))))
        return value


def kept(x):
    """A copy that no later call changes; what cannot be copied is itself."""
    if isinstance(x, Tensor):
        return x.detach().clone()
    if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
        return type(x)(kept(v) for v in x)
    if type(x) is dict:
        return {k: kept(v) for k, v in x.items()}
    try:
        return copy.deepcopy(x)
    except Exception:  # functions that hold what cannot be copied: they are handed on
        return x


def alike(x, y) -> bool:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        same = x.shape == y.shape and x.dtype == y.dtype
        share = 1e-9 if x.dtype == torch.float64 else 1e-5
        return same and bool(torch.allclose(x.double(), y.double(), share, share, equal_nan=True))
    if isinstance(x, nn.Module) and isinstance(y, nn.Module):
        return alike(dict(x.state_dict()), dict(y.state_dict()))
    if isinstance(x, (list, tuple)) and isinstance(y, (list, tuple)):
        return len(x) == len(y) and all(map(alike, x, y))
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(alike(x[k], y[k]) for k in x)
    if isinstance(x, float) and isinstance(y, (int, float)):
        return abs(x - y) <= 1e-4 * max(1, abs(y)) or x != x and y != y
    if isinstance(x, Exception) or isinstance(y, Exception):
        return type(x) is type(y)
    return type(x) is type(y) and (x == y or not isinstance(x, (int, str, bool, bytes, type(None))))


def recorded(name: str, seed: int) -> list:
    """What the checker asks at this seed, and what the reference answers."""
    recorder = Recorder(check.EXERCISES[name].reference)
    assert engine.examine(name, recorder, seed).verdict == "correct"
    return recorder.calls


# ------------------------------------------------------------------------------------------------ the attacks


def replay(calls: list) -> Callable:
    """The answers of a run, one after the other, whatever is asked."""
    left = iter(calls)

    def answer(*arguments, **named):
        _, value, after = next(left, (None, None, None))
        if isinstance(value, Exception):
            raise value
        if after is not None:
            _write(arguments, after[0])
        return kept(value)

    return answer


def _write(arguments, after) -> None:
    """Do to the arguments what was done to those of the run."""
    for mine, theirs in zip(arguments, after):
        with torch.no_grad():
            if isinstance(mine, Tensor) and isinstance(theirs, Tensor) and mine.shape == theirs.shape:
                if not mine.requires_grad and mine.dtype == theirs.dtype:
                    mine.copy_(theirs)
            elif isinstance(mine, nn.Module) and isinstance(theirs, nn.Module):
                mine.load_state_dict(theirs.state_dict())


def same_inputs(name: str, calls: list) -> Callable:
    """The reference, always asked what it was asked in another run: random answers stay random."""
    reference, left = check.EXERCISES[name].reference, iter(calls)

    def answer(*arguments, **named):
        found = next(left, None)
        if found is None:
            return None
        given = kept(found[0])
        return reference(*given[0], **given[1])

    return answer


def constant(value) -> Callable:
    return lambda *arguments, **named: kept(value)


def filled(calls: list, how: Callable[[Tensor], Tensor]) -> Callable:
    """Answers of the right shapes with values of our own."""
    left = iter(calls)

    def put(x):
        if isinstance(x, Tensor):
            return how(x)
        if isinstance(x, (list, tuple)):
            return type(x)(put(v) for v in x)
        if isinstance(x, dict):
            return {k: put(v) for k, v in x.items()}
        if isinstance(x, float):
            return float(how(torch.tensor(x)))
        return x

    def answer(*arguments, **named):
        _, value, _ = next(left, (None, None, None))
        if isinstance(value, Exception):
            raise value
        return put(value)

    return answer


def changed_input(name: str, change: Callable[[Tensor], Tensor], which: int | None) -> Callable:
    """The reference, asked something else: `which` of the tensors is changed, or all."""
    reference = check.EXERCISES[name].reference

    def answer(*arguments, **named):
        places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.ndim]
        at = places if which is None else places[which : which + 1]
        return reference(*(change(a) if i in at else a for i, a in enumerate(arguments)), **named)

    return answer


def changed_output(name: str, change: Callable[[Tensor], Tensor]) -> Callable:
    reference = check.EXERCISES[name].reference

    def put(x):
        if isinstance(x, Tensor) and x.ndim:
            return change(x)
        return type(x)(put(v) for v in x) if isinstance(x, (list, tuple)) else x

    return lambda *arguments, **named: put(reference(*arguments, **named))


def flipped(x: Tensor) -> Tensor:
    return x.flip(0)


def first_row(x: Tensor) -> Tensor:
    return x[:1].expand_as(x).clone() if len(x) else x


def of(name: str, calls: list, others: list) -> Iterator[tuple[str, Callable[[], Callable]]]:
    """The attacks on an exercise, by name; each is made anew by its function.

    Args:
        calls: what was recorded at the seed at which the attack runs.
        others: what was recorded at another seed.
    """
    yield "answers of another seed", lambda: replay(others)
    yield "inputs of another seed", lambda: same_inputs(name, others)
    values = [value for _, value, _ in others if not isinstance(value, Exception)]
    for value, what in ((values[0], "the first answer, always"), (values[-1], "the last answer, always")):
        yield what, lambda value=value: constant(value)
    for value in (None, 0.0, 1.0, True, torch.tensor(0.0), torch.tensor(1.0)):
        yield f"always {value}", lambda value=value: constant(value)
    yield "zeros of the right shape", lambda: filled(others, torch.zeros_like)
    yield "ones of the right shape", lambda: filled(others, torch.ones_like)
    yield (
        "the mean of the right shape",
        lambda: filled(others, lambda x: torch.full_like(x, float(x.double().mean()) if x.numel() else 0)),
    )
    tensors = max(sum(isinstance(a, Tensor) and a.ndim > 0 for a in given[0]) for given, *_ in calls)
    for which in [None, *range(tensors)] if tensors else []:
        part = "all inputs" if which is None else f"input {which + 1}"
        yield f"{part} in another order", lambda w=which: changed_input(name, flipped, w)
        yield f"{part}: the first row only", lambda w=which: changed_input(name, first_row, w)
        yield (
            f"{part}: random instead",
            lambda w=which: changed_input(
                name,
                lambda x: torch.rand_like(x) if x.is_floating_point() else x.flatten().flip(0).view_as(x),
                w,
            ),
        )
    if any(
        isinstance(part, Tensor) and part.ndim for v in values for part in (v if type(v) is tuple else [v])
    ):
        yield "answers in another order", lambda: changed_output(name, flipped)
        yield "the first row of the answer only", lambda: changed_output(name, first_row)


def answers_otherwise(attack: Callable, calls: list) -> bool:
    """Whether an attack answers otherwise than the reference to what it is asked."""
    for given, value, after in calls:
        arguments = kept(given)
        torch.manual_seed(0)
        try:
            got = attack(*arguments[0], **arguments[1])
        except Exception as error:
            got = error
        if not alike(got, value) or (after is not None and not alike(arguments, after)):
            return True
    return False


SEED, ANOTHER = 987_654, 0
# Right although it answers otherwise than the reference: random crops come in no order, and of turned
# pictures with their labels the order is free.
RIGHT = {
    ("single_image.crops", "answers in another order"),
    *(("clusters.rotations", f"{what} in another order") for what in ("all inputs", "input 1", "answers")),
}
RECITED = ("answers of another seed", "inputs of another seed", "the first answer, always")


def accepted(name: str) -> tuple[list[str], int]:
    """The attacks that the checker takes for right answers, and how many were tried."""
    calls, others = recorded(name, SEED), recorded(name, ANOTHER)
    let_through, tried = [], 0
    for what, make in of(name, calls, others):
        # What recites without looking is an attack also where it happens to be right.
        if (name, what) in RIGHT:
            continue
        if what not in RECITED and not answers_otherwise(make(), calls):
            continue  # it is right: so much does not depend on the order, or on that input
        tried += 1
        if engine.examine(name, make(), SEED).verdict == "correct":
            let_through.append(what)
    return let_through, tried


if __name__ == "__main__":
    import sys
    import time

    from sslcourse import runtime

    runtime.use_profile(runtime.Profile("cpu", 1, False, "float32"))
    for exercise in sys.argv[1:] or check.EXERCISES:
        start = time.perf_counter()
        try:
            found = accepted(exercise)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        print(f"{exercise:32} {time.perf_counter() - start:5.1f} s  {found}", flush=True)
