"""Scores where several answers are equally good: what somebody would reach who picks one of them at random.

`argmax` and `topk` take the first of equals, so a network that tells nothing apart is found right as often as
the true answer happens to stand first, and the order of the samples decides. Here an answer that ties with
others for the best counts as the share that it would win by chance: with k equals 1 / k. Collapsed features
then score what chance does, whatever their order.

    found(scores, truth)            each row's probability of picking the true column
    first_best(scores)              a column for each row, where one has to be named: of equals the lowest
    places(similarity, k)           how much of one of the k first places each candidate has
    recalled(similarity, same, ks)  expected recall@k and average precision of rankings with equals in them

Equal means equal but for the last digits, in which equal rows differ when a matrix product adds them up in
another order. So similarities of features are computed in double precision (`wide`), where the last digits
are far below anything that features differ by.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sslcourse.runtime.shapes import explained

DIGITS = {torch.float64: 1e-12}  # relative: the last digits of a sum in double precision ...
COARSE = 1e-6  # ... and in any coarser one


@explained
def wide(x: Tensor) -> Tensor:
    """In double precision, where the device has it (Apple's has not)."""
    return x.float() if x.device.type == "mps" else x.double()


@explained
def directions(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1 for cosines: `wide`, and a row of zeros stays one."""
    return F.normalize(wide(x), dim=-1, eps=1e-30)


def _blur(scores: Tensor, scale: Tensor) -> Tensor:
    return DIGITS.get(scores.dtype, COARSE) * scale


@explained
@torch.no_grad()
def best(scores: Float[Tensor, "*n c"]) -> Bool[Tensor, "*n c"]:
    """Which columns tie for the highest of each row. None where a row holds NaN: its best is unknown."""
    finite = torch.where(torch.isfinite(scores), scores.abs(), 0)
    most = scores.amax(-1, keepdim=True)  # NaN where one is
    return scores >= most - _blur(scores, finite.amax(-1, keepdim=True))


@explained
@torch.no_grad()
def found(scores: Float[Tensor, "*n c"], truth: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """How likely each row's true column is picked, if one of the best is picked at random: 1 where it alone
    is the best, 1 / k where it ties with k - 1 others, else 0. NaN where the scores are.

    Args:
        truth: the true column of each row.
    """
    scores = scores if scores.is_floating_point() else scores.float()
    ties = best(scores)
    right = ties.gather(-1, truth.to(scores.device).long()[..., None])[..., 0]
    return right.float() / ties.sum(-1)


@explained
def first_best(scores: Float[Tensor, "*n c"]) -> Int[Tensor, "*n"]:
    """The best column of each row, of equals the lowest, whatever the last digits say. For those who must
    name one; a score is better read by `found`.
    """
    return best(scores).to(torch.uint8).argmax(-1)


def _groups(similarity: Float[Tensor, "m n"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rankings, best first: the order, and for each place how many stand above its group of equals, how many
    stand in that group, and which place of the group it is, from 1.
    """
    ranked, order = similarity.sort(1, descending=True)
    finite = torch.where(torch.isfinite(ranked), ranked.abs(), 0)
    gap = _blur(ranked, finite.amax(1, keepdim=True))
    begins = torch.ones_like(ranked, dtype=torch.bool)
    begins[:, 1:] = ranked[:, :-1] - ranked[:, 1:] > gap
    place = torch.arange(ranked.shape[1], device=ranked.device).expand_as(ranked)
    above = torch.where(begins, place, 0).cummax(1).values
    ends = torch.ones_like(begins)
    ends[:, :-1] = begins[:, 1:]
    last = torch.where(ends, place, ranked.shape[1]).flip(1).cummin(1).values.flip(1)
    return order, above, last - above + 1, place - above + 1


@explained
@torch.no_grad()
def recalled(
    similarity: Float[Tensor, "m n"], same: Bool[Tensor, "m n"], ks: Sequence[int]
) -> tuple[dict[int, Tensor], Tensor]:
    """What rankings reach, mean over all orders of what is equally similar.

    Args:
        similarity: of each query (row) to each candidate; -inf for one that is no candidate.
        same: whether a candidate is what the query asks for; at least one of each row, and none that is no
            candidate.
        ks: from 1.

    Returns:
        For each k how likely one of the k first is right (m,), and the average precision (m,), both float64.
        The latter is the expectation in closed form (McSherry and Najork, Computing information retrieval
        performance measures efficiently in the presence of tied scores, ECIR 2008).
    """
    order, above, size, number = _groups(similarity)
    right = same.gather(1, order)
    hits = torch.cat([right.new_zeros(len(right), 1, dtype=torch.long), right.cumsum(1)], 1)  # (m, n + 1)
    before = hits.gather(1, above)  # right ones above the group of each place
    within = hits.gather(1, above + size) - before  # and in it
    size_, within_, number_ = (x.double() for x in (size, within, number))
    # The place is right with probability within / size; then of the number - 1 before it in the group each is
    # right with probability (within - 1) / (size - 1).
    others = (number_ - 1) * (within_ - 1) / (size_ - 1).clamp_min(1)
    rank = torch.arange(1, right.shape[1] + 1, device=right.device, dtype=torch.float64)
    precision = (within_ / size_ * (before + 1 + others) / rank).sum(1) / right.sum(1)
    recall = {}
    for k in ks:
        # Missed if nothing right stands above the group in which the k-th place lies, and none of those of
        # the group that are drawn for the places up to k is.
        above_k, total, good, drawn = (x[:, k - 1] for x in (before, size_, within_, number_))
        log_c = lambda n, r: torch.lgamma(n + 1) - torch.lgamma(r + 1) - torch.lgamma(n - r + 1)
        wrong = total - good
        missed = (log_c(wrong.clamp_min(drawn), drawn) - log_c(total, drawn)).exp()
        missed = torch.where(good == 0, 1.0, torch.where(wrong < drawn, 0.0, missed))
        recall[k] = torch.where(above_k > 0, 1.0, 1 - missed)
    return recall, precision


@explained
@torch.no_grad()
def places(similarity: Float[Tensor, "m n"], k: int) -> Float[Tensor, "m n"]:
    """How much of one of the k first places each candidate has, 0 to 1; k in each row. Those that are as good
    as the last one share what the better ones have left.

    Args:
        similarity: -inf for what is no candidate; at least k of each row are.
    """
    last = similarity.topk(k, dim=1).values[:, -1:]
    finite = torch.where(torch.isfinite(similarity), similarity.abs(), 0)
    blur = _blur(similarity, finite.amax(1, keepdim=True))
    above = similarity > last + blur
    equal = (similarity >= last - blur) & ~above
    left = (k - above.sum(1, keepdim=True)).to(similarity.dtype)
    return above + equal * (left / equal.sum(1, keepdim=True))
