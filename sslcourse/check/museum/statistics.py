"""Exhibit: batch statistics that give the answer away (shuffled batch normalisation)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import assert_true, exercise_of, general_mistakes, misses, rejects

# ------------------------------------------------------------------------------ 6. batch statistics that leak

GROUP = 8  # samples that share their batch statistics: what one process of several would hold


def _in_groups(network: Callable, x: Tensor) -> Tensor:
    return torch.cat([network(part) for part in x.split(GROUP)])


def _keys_in_order(
    network: Callable, queries: Tensor, keys: Tensor, order: Tensor, back: bool = True
) -> tuple[Tensor, Tensor]:
    k = _in_groups(network, keys[order])
    return _in_groups(network, queries), k[order.argsort()] if back else k


def _encode_shuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _keys_in_order(network, queries, keys, torch.randperm(len(keys)))


def _encode_dealt(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    hands = math.ceil(len(keys) / GROUP)  # like cards: key 0 to the first group, key 1 to the second, ...
    return _keys_in_order(network, queries, keys, torch.argsort(torch.arange(len(keys)) % hands, stable=True))


def _encode_queries_shuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _encode_shuffled(network, keys, queries)[::-1]


def _encode_both_shuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    first, second = torch.randperm(len(keys)), torch.randperm(len(keys))
    return _in_groups(network, queries[first])[first.argsort()], _in_groups(network, keys[second])[
        second.argsort()
    ]


def _encode_unshuffled(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _in_groups(network, queries), _in_groups(network, keys)


def _encode_shuffled_within(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.cat([part[torch.randperm(len(part))] for part in torch.arange(len(keys)).split(GROUP)])
    return _keys_in_order(network, queries, keys, order)


def _encode_groups_moved(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _keys_in_order(network, queries, keys, torch.arange(len(keys)).roll(GROUP))


def _encode_same_order(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(keys))
    return _in_groups(network, queries[order])[order.argsort()], _in_groups(network, keys[order])[
        order.argsort()
    ]


def _encode_last_group_stays(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    moved = max(0, len(keys) - GROUP)
    return _keys_in_order(
        network, queries, keys, torch.cat([torch.randperm(moved), torch.arange(moved, len(keys))])
    )


def _encode_not_put_back(network: Callable, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    return _keys_in_order(network, queries, keys, torch.randperm(len(keys)), back=False)


STATISTICS = Exhibit(
    "museum.statistics",
    "batch statistics that leak",
    right={
        "keys shuffled": _encode_shuffled,
        "keys dealt like cards": _encode_dealt,
        "queries shuffled": _encode_queries_shuffled,
        "both shuffled, each its own way": _encode_both_shuffled,
    },
    bugs={
        "not shuffled": _encode_unshuffled,
        "shuffled within groups": _encode_shuffled_within,
        "whole groups moved": _encode_groups_moved,
        "both in the same new order": _encode_same_order,
        "the last group stays together": _encode_last_group_stays,
        "keys not put back": _encode_not_put_back,
    },
)


def test_statistics(encode: Callable) -> None:
    """No key is computed among the same samples as its query, and both come back in the order in which they
    were given.
    """
    for n in (16, 64):
        one_hot = torch.eye(n)

        def crowd(x):  # a network that tells who was in its batch, as batch statistics would
            return x.sum(0, keepdim=True).expand(len(x), -1)

        q, k = encode(crowd, one_hot, one_hot)
        for i in range(n):
            assert not torch.equal(q[i], k[i]), (
                f"query {i} of {n} and its key were computed among the same samples"
            )
        q, k = encode(lambda x: x, one_hot, one_hot)
        assert torch.equal(q, one_hot) and torch.equal(k, one_hot), (
            "queries and keys do not come back in their order"
        )


def _came_back_in_order(encode: Callable) -> None:
    x = torch.randn(64, 3)
    q, k = encode(lambda part: part, x, x)
    assert torch.equal(q, x) and torch.equal(k, x), "another order"


def _was_shuffled(encode: Callable) -> None:
    seen, x = [], torch.arange(64.0)[:, None]

    def spy(part):
        seen.append(part)
        return part

    encode(spy, x, x)
    assert not torch.equal(torch.cat(seen), torch.cat([x, x])), (
        "the network saw everything in the order given"
    )


def _crowds(encode: Callable, n: int, every: bool) -> None:
    q, k = encode(lambda x: x.sum(0, keepdim=True).expand(len(x), -1), torch.eye(n), torch.eye(n))
    differ = (q != k).any(1)
    assert differ.all() if every else differ.any(), "computed among the same samples"


def _crowds_somewhere(encode: Callable) -> None:
    _came_back_in_order(encode)
    _crowds(encode, 64, every=False)


def _keys_move(encode: Callable) -> None:
    seen, x = [], torch.arange(64.0)[:, None]

    def spy(part):
        seen.append(part)
        return part

    encode(spy, x, x + 100)
    first = torch.cat([part for part in seen if part[0] < 100])
    assert torch.equal(first, x), "the queries must stay where they are"
    test_statistics(encode)


_STATISTICS_MISTAKES = {
    "demands one way to do it": (
        "It rejects a right way: the keys may be shuffled, or the queries, or both; at random or by a "
        "fixed rule. What counts is who shares a batch "
        "with whom.",
        rejects(),
        _keys_move,
    ),
    "checks the order, not the company": (
        (
            "Queries and keys come back in their order, which holds without any shuffling too. Use a network "
            "that tells who was in its batch."
        ),
        misses("not shuffled"),
        _came_back_in_order,
    ),
    "asks whether something was shuffled": (
        "Something was shuffled, but not the company: within its group, or together with its whole group, "
        "a key still meets the samples that its "
        "query met. Ask *among whom* a sample was computed.",
        misses("shuffled within groups", "whole groups moved"),
        _was_shuffled,
    ),
    "checks the company, not the order": (
        "Key and query keep different company, yet the keys were never put back: each query would be "
        "compared with somebody else's key. Check the "
        "order with a network that returns its input.",
        misses("keys not put back"),
        lambda encode: _crowds(encode, 64, every=True),
    ),
    "is content with one": (
        (
            "It asks whether *some* key keeps other company than its query. The last group may still be "
            "together. Ask for every one."
        ),
        misses("the last group stays together"),
        _crowds_somewhere,
    ),
}

STATISTICS_EXERCISE = exercise_of(
    STATISTICS,
    test_statistics,
    general_mistakes(
        test_statistics,
        never=(
            lambda encode: assert_true(
                encode(lambda x: x, torch.eye(16), torch.eye(16))[0].shape == (16, 16)
            ),
        ),
        never_because=(
            "A network that treats every sample on its own cannot see who shares a batch. Give one "
            "that looks around."
        ),
    ),
    _STATISTICS_MISTAKES,
    (
        "You choose the network. Which network would betray who was in the batch together with a sample?",
        (
            "Give torch.eye(n) as queries and as keys, and a network that returns the sum over its batch: "
            "every row then lists its company."
        ),
        "crowd = lambda x: x.sum(0, keepdim=True).expand(len(x), -1); no q[i] may equal k[i] (n = 64). And "
        "with lambda x: x both must come back "
        "as they were given.",
    ),
)
