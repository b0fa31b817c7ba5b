"""A damaged jigsaw puzzle to solve by hand, with the network's answer beside it."""

from __future__ import annotations

import torch
import traitlets
from torch import Tensor

from sslcourse.methods.jigsaw import Jigsaw
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEED, WHOLE, takes
from sslcourse.transforms.augment import grey
from sslcourse.widgets.views import View, Whole, script, sprite

MOST = 12  # puzzles in a view


class Puzzle(View):
    """Puzzles one after another: pieces to swap by mouse or keyboard, a check, and what the network made of
    the same pieces.

    Args: as for `puzzles`, which makes it. `view.solved` holds the puzzles that were put together by hand,
    `view.puzzle` the one on show."""

    _esm = script("puzzle")

    # for each puzzle: n pieces as they lie there, n mended in place, n as they were in place
    tiles = traitlets.Bytes(b"").tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    puzzle = Whole(0).tag(sync=True)
    solved: traitlets.List = traitlets.List().tag(sync=True)

    def __init__(
        self,
        given: Tensor,
        mended: Tensor,
        whole: Tensor,
        order: Tensor,
        answer: Tensor,
        missing: Tensor,
        choices: int,
        title: str,
    ):
        self._parts = [x.detach().float().cpu().clamp(0, 1) for x in (given, mended, whole)]
        self._order, self._answer, self._missing = order.cpu(), answer.cpu(), missing.cpu()
        sheet, cut = sprite(torch.stack(self._parts, 1).flatten(0, 2))
        super().__init__(
            tiles=sheet,
            about={
                "cut": cut,
                "count": len(order),
                "pieces": order.shape[1],
                "order": order.tolist(),
                "choices": choices,
                "answer": answer.tolist(),
                "missing": missing.tolist(),
                "title": title,
            },
        )

    @property
    def network_right(self) -> list[bool]:
        """For each puzzle, whether the network's order is the right one."""
        return (self._order == self._answer).all(1).tolist()

    def picture(self) -> bytes:
        """Up to two puzzles: as they are given, as the network mends them, and as they were."""
        from sslcourse import show
        from sslcourse.show import sheets

        n = self._order.shape[1]
        across, side, apart = round(n**0.5), 45, 2
        board = across * (side + apart) - apart
        count = min(2, len(self._order))
        # true colour would cost three times the bytes
        sheet = sheets.Sheet(3 * (board + 26) + 14, 46 + count * (board + 16), colours=256)
        sheet.text(8, 5, self.about["title"] or "damaged puzzles", 10.5, ha="left", fontweight="bold")
        for column, name in enumerate(("the puzzle", "the network's answer", "what it was")):
            sheet.text(14 + column * (board + 26) + board / 2, 26, name)
        for row in range(count):
            for column, part in enumerate(self._parts):
                left, top = 14 + column * (board + 26), 44 + row * (board + 16)
                for k, tile in enumerate(show.to_uint8(part[row])):
                    large = show.enlarge(tile, side)
                    sheet.paste(large, left + k % across * (side + apart), top + k // across * (side + apart))
                if column == 1:
                    sheet.frame(left, top, (board, board), "right" if self.network_right[row] else "wrong")
        return show.png(sheet.done())

    def __repr__(self):
        return (
            f"<puzzle: {len(self._order)} of {self._order.shape[1]} pieces, the network solves "
            f"{sum(self.network_right)}>"
        )


@takes(n=WHOLE, seed=SEED)
def puzzles(method: Jigsaw, images, n: int = 6, seed: int = 0, title: str = "") -> Puzzle:
    """Damaged puzzles of some pictures, to be solved by hand beside the network.

    Args:
        method: one with `solve` and the task "jigsaw" (`jigsaw.Jigsaw`), trained.
        images: (N, 3, H, W) uint8 or float 0..1; the first `n` are damaged, by `seed`.
        n: how many, 1 to 12.
    """
    if not hasattr(method, "solve") or "jigsaw" not in getattr(method, "tasks", ()):
        raise CourseError(
            f'{type(method).__name__} solves no puzzles; pass a jigsaw.Jigsaw whose tasks have "jigsaw" '
            "among them"
        )
    images = torch.as_tensor(images)
    if not 1 <= n <= MOST or len(images) < n:
        raise CourseError(f"n={n} puzzles of {len(images)} pictures; show 1 to {min(MOST, len(images))}")
    device = next(method.parameters()).device
    found = {k: v.cpu() for k, v in method.solve(images[:n].to(device), seed).items()}
    rows = torch.arange(n)
    given = found["piece"].clone()
    faded = torch.ones_like(found["faded"]) if method.grey else found["faded"]
    given[faded] = grey(given[faded]).expand(-1, 3, -1, -1)
    there = found["missing"] >= 0
    given[rows[there], found["missing"][there]] = 1.0  # a hole; the view draws a mark on it
    back = found["order"].argsort(1)
    whole = found["piece"][rows[:, None], back]
    return Puzzle(
        given,
        found["mended"],
        whole,
        found["order"],
        found["answer"],
        found["missing"],
        len(method.orders),
        title,
    )
