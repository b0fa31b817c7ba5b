"""Completing damaged jigsaw puzzles: the more of a picture is broken, the more a network must understand to
mend it.

Kim, Cho, Yoo and Kweon. Learning Image Representations by Completing Damaged Jigsaw
Puzzles. WACV 2018. arXiv:1802.01880.                        Notebook: 03_damaged_jigsaw
Noroozi and Favaro. Unsupervised Learning of Visual Representations by Solving Jigsaw
Puzzles. ECCV 2016. arXiv:1603.09246.

The paper                                          here
    cut 3x3 pieces with gaps, normalise each           cut_pieces, normalised
    a set of permutations far from each other          permutation_set
    shuffle, take one piece away, take colours away    Jigsaw.pose
    tell the arrangement                               task "jigsaw"
    generate the missing piece (its colours)           task "inpainting"
    colour the other pieces                            task "colour"
    keep the network that reads pieces                 Jigsaw.encode

The abstract and the figures of the paper are what we follow; its loss weights, layer sizes and number of
permutations we do not know, so this is a re-implementation in its spirit. Departures, each on purpose:
  - Every task reads grey pieces, in all combinations, so that their features can be compared: colour is only
    ever a target.
  - Colours are told as one of 17 bins of Lab's ab plane (as colourisation papers do) and not as two numbers,
    whose best guess for a solid of any hue would be grey; and at half the resolution.
  - Pictures of 32 pixels are enlarged before they are cut, or a piece would be smaller than what the
    encoder's layers look at.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from sslcourse.methods.base import Method, dim_of, floats_of, images_of
from sslcourse.methods.spec import Spec
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SOME, WIDTH, Number, takes
from sslcourse.runtime.shapes import explained
from sslcourse.train import ties
from sslcourse.train.recipe import Recipe
from sslcourse.transforms.augment import View, as_float, crop_and_flip, grey
from sslcourse.transforms.colour import from_lab, lab

# What is known of the authors' (abstract and figures), and Noroozi and Favaro's settings (their code); never
# executed.
PAPER = dict(
    data="ImageNet",
    encoder="AlexNet",
    grid=3,
    target="ab of Lab",
    damage="one piece and all colours",
    side=255,
    cell=85,
    tile=64,
    permutations=100,
    batch_size=256,
    lr=0.01,
    optimizer="SGD",
    iterations=350_000,
)

COURSE = Recipe(epochs=8, batch_size=128, lr=3e-3)  # a laptop CPU, the toybox, the small encoder
FULL = COURSE.but(epochs=20)  # for longer, at most five minutes there
GPU = Recipe(epochs=200, batch_size=256, lr=1e-3)  # one GPU, CIFAR-10, ResNet-18

TASKS = ("jigsaw", "inpainting", "colour")
# The rows of the paper's table, and each task alone, as arguments of `Jigsaw`.
COMBINATIONS: dict[str, dict[str, Any]] = {
    "Inp": dict(tasks=("inpainting",)),
    "Col": dict(tasks=("colour",)),
    "Jig": dict(tasks=("jigsaw",)),
    "Jig + Inp": dict(tasks=("jigsaw", "inpainting")),
    "Jig + Col": dict(tasks=("jigsaw", "colour")),
    "Jig + Inp + Col, simple": dict(together=False),
    "CDJP": {},
}
RINGS, SECTORS = (12.0, 40.0), 8  # of the ab plane: grey up to a chroma of 12, pale up to 40, full beyond
BINS = 1 + len(RINGS) * SECTORS


# ---------------------------------------------------------------------------------------------- colours


@explained
def colour_bins(image: Float[Tensor, "b 3 h w"]) -> Int[Tensor, "b h w"]:
    """Which of the 17 bins each pixel's colour falls into: 0 for grey, then 8 hues of pale colours, then 8
    hues of full ones.
    """
    _, a, b = lab(image).unbind(1)
    chroma = torch.hypot(a, b)
    sector = (torch.atan2(b, a) * SECTORS / (2 * math.pi)).round().long() % SECTORS
    ring = torch.stack([chroma > edge for edge in RINGS]).sum(0)
    return torch.where(ring == 0, torch.zeros_like(sector), 1 + (ring - 1) * SECTORS + sector)


def bin_colours(device=None) -> Float[Tensor, "q 2"]:
    """(17, 2): the ab at the heart of each bin."""
    turn = torch.arange(SECTORS, device=device) * (2 * math.pi / SECTORS)
    around = torch.stack([turn.cos(), turn.sin()], 1)
    return torch.cat([torch.zeros(1, 2, device=device), 25 * around, 60 * around])


# ---------------------------------------------------------------------------------------------- pieces


@explained
def cut_pieces(
    image: Float[Tensor, "b c h w"], grid: int = 3, gap: int = 5, jitter: bool = True
) -> Float[Tensor, "b n c t t"]:
    """Cut every picture into grid x grid pieces, row by row, so that neighbours do not touch.

    Each cell of H // grid pixels gives one piece of t = H // grid - gap pixels, from a random place in the
    cell: another one for every piece of every picture (Noroozi and Favaro, section 3.3). Without `jitter`
    from its middle; with `gap=0` pieces touch, and a line that runs on from one to the next tells that they
    belong together."""
    b, _, h, w = image.shape
    cell = h // grid
    if h != w or not 0 <= gap < cell:
        raise CourseError(
            f"pictures of {h} x {w} in {grid} x {grid} cells with a gap of {gap}; use squares, and a gap "
            f"from 0 to {cell - 1}"
        )
    size, n = cell - gap, grid * grid
    if jitter:
        inside = torch.randint(0, gap + 1, (2, b, n), device=image.device)
    else:
        inside = torch.full((2, b, n), gap // 2, device=image.device)
    at = torch.arange(n, device=image.device)
    top = (inside[0] + at // grid * cell)[..., None] + torch.arange(size, device=image.device)  # (B, n, t)
    left = (inside[1] + at % grid * cell)[..., None] + torch.arange(size, device=image.device)
    which = torch.arange(b, device=image.device).view(-1, 1, 1, 1)
    return image[which, :, top[..., :, None], left[..., None, :]].permute(0, 1, 4, 2, 3)  # (B, n, C, t, t)


@explained
def normalised(piece: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
    """Each piece with mean 0 and standard deviation 1 over its own pixels, so that brightness and contrast do
    not tell where it was.
    """
    mean = piece.mean((-3, -2, -1), keepdim=True)
    spread = piece.std((-3, -2, -1), correction=0, keepdim=True)
    return (piece - mean) / spread.clamp_min(0.02)  # a plain piece stays plain: its noise is not blown up


@functools.cache
def all_orders(pieces: int) -> Integer[Tensor, "m n"]:
    """All orders of so many pieces, (pieces!, pieces), the unshuffled one first."""
    if not 2 <= pieces <= 9:
        raise CourseError(f"pieces={pieces}; from 2 to 9 (of 16 pieces there are 20 million million orders)")
    return torch.tensor(list(itertools.permutations(range(pieces))), dtype=torch.uint8)


@explained
def permutation_set(candidates: Integer[Tensor, "m n"], count: int) -> Int[Tensor, "k n"]:
    """Choose `count` orders that are far from each other (greedily, as Noroozi and Favaro's algorithm 1
    does).

    The Hamming distance of two orders is the number of places in which they differ. Begin with the first
    candidate; then always take the one whose *nearest* chosen order is farthest, and of several such the one
    with the greatest sum of distances, the first of them. (The authors look at the sum alone, which lets in
    two orders that only swap two pieces.)"""
    if not 1 <= count <= len(candidates):
        raise CourseError(f"count={count}; there are {len(candidates)} candidates to choose from")
    chosen = [0]
    total = torch.zeros(len(candidates), dtype=torch.int32, device=candidates.device)
    nearest = torch.full_like(total, candidates.shape[1] + 1)
    while len(chosen) < count:
        distance = (candidates != candidates[chosen[-1]]).sum(1, dtype=torch.int32)
        total += distance
        nearest = torch.minimum(nearest, distance)
        chosen.append(int((nearest * (count * candidates.shape[1] + 1) + total).argmax()))
    return candidates[chosen].long()


@explained
def greyed(piece: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Pieces or pictures without their colours, in three equal channels."""
    return grey(piece.flatten(0, -4)).view(*piece.shape[:-3], 1, *piece.shape[-2:]).expand(piece.shape)


@explained
def shuffled(pieces: Tensor, order: Int[Tensor, "b n"]) -> Tensor:
    """Place k shows the piece that belongs at place order[k]: (B, n, ...) to (B, n, ...)."""
    return pieces[torch.arange(len(pieces), device=pieces.device)[:, None], order]


@explained
def restored(pieces: Tensor, order: Int[Tensor, "b n"]) -> Tensor:
    """The inverse of `shuffled`: each piece back where it belongs."""
    return shuffled(pieces, order.argsort(1))


@explained
def assembled(
    pieces: Float[Tensor, "b n c t t"], gap: int = 1, ground: float = 1.0
) -> Float[Tensor, "b c s s"]:
    """Pieces laid out row by row as one picture, `gap` pixels of `ground` between them."""
    b, n, c, t, _ = pieces.shape
    grid = math.isqrt(n)
    page = F.pad(pieces, (0, gap, 0, gap), value=ground).view(b, grid, grid, c, t + gap, t + gap)
    page = page.permute(0, 3, 1, 4, 2, 5).reshape(b, c, grid * (t + gap), grid * (t + gap))
    return page[:, :, : page.shape[2] - gap, : page.shape[3] - gap]


@explained
def lens(
    image: Float[Tensor, "b 3 h w"], aberration: float = 0.0, lamp: float = 0.0, cast: float = 0.0
) -> Float[Tensor, "b 3 h w"]:
    """A bad camera, which says in every pixel where in the picture it lies. For showing shortcuts: rendered
    pictures have none.

    Args:
        aberration: red is enlarged about the centre, and blue reduced, by this share: coloured fringes that
            point outwards.
        lamp: how much brighter the lower right corner is than the upper left one; brightness grows evenly
            between them.
        cast: how much redder the right edge is than the left one, which is bluer by as much (colour shading
            of a sensor).
    """
    _, _, h, w = image.shape
    if aberration:
        planes = []
        for channel, scale in zip(image.split(1, dim=1), (1 - aberration, 1.0, 1 + aberration)):
            theta = torch.tensor(
                [[scale, 0.0, 0.0], [0.0, scale, 0.0]], device=image.device, dtype=image.dtype
            ).expand(len(image), 2, 3)
            at = F.affine_grid(theta, [len(image), 1, h, w], align_corners=False)
            planes.append(
                F.grid_sample(channel, at, mode="bilinear", padding_mode="border", align_corners=False)
            )
        image = torch.cat(planes, 1)
    if lamp:
        slope = torch.linspace(-0.5, 0.5, h, device=image.device)[:, None] + torch.linspace(
            -0.5, 0.5, w, device=image.device
        )
        image = image + lamp / 2 * slope
    if cast:
        tint = torch.tensor([0.5, 0.0, -0.5], device=image.device).view(3, 1, 1)
        image = image + cast * tint * torch.linspace(-1, 1, w, device=image.device)
    return image.clamp(0, 1)


# ------------------------------------------------------------------------------------------- the three losses


@explained
def order_term(logits: Float[Tensor, "b p"], permutation: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Cross-entropy of the arrangement over log P: 1 for a network that knows nothing, 0 where it knows."""
    return F.cross_entropy(logits, permutation) / math.log(logits.shape[1])


@explained
def colour_term(logits: Float[Tensor, "m q s s"], bins: Int[Tensor, "m s s"]) -> Float[Tensor, ""]:
    """Cross-entropy of the colours of m pieces over log Q, mean over all their places."""
    return F.cross_entropy(logits, bins) / math.log(logits.shape[1])


@explained
def damaged_loss(
    orders: Float[Tensor, "b p"],
    permutation: Int[Tensor, " b"],
    colours: Float[Tensor, "b n q s s"],
    bins: Int[Tensor, "b n s s"],
    missing: Int[Tensor, " b"],
    faded: Bool[Tensor, "b n"],
    weights: Sequence[float] = (1.0, 1.0, 1.0),
) -> Float[Tensor, ""]:
    """The loss of a whole damaged puzzle: its arrangement, the missing piece, and the colours of the pieces
    that lost them.

    Each of the three is a cross-entropy divided by what a network pays that knows nothing (the logarithm of
    the number of choices): so all three start near 1, and `weights` (of arrangement, missing piece, colours)
    mean something.

    Args:
        orders, permutation: scores of the P orders, and which of them it is.
        colours, bins: for each of the n pieces, as they lie in the puzzle, scores of the Q colours at s x s
            places, and the right ones.
        missing: at which place of the puzzle (0 to n - 1) a piece is missing. `colours` of that one is the
            inpainting.
        faded: which pieces lie there without their colours.
    """
    row = torch.arange(len(missing), device=missing.device)
    return (
        weights[0] * order_term(orders, permutation)
        + weights[1] * colour_term(colours[row, missing], bins[row, missing])
        + weights[2] * colour_term(colours[faded], bins[faded])
    )


# ---------------------------------------------------------------------------------------------- the method


class Jigsaw(Method):
    """Jigsaw, inpainting and colouring around any encoder: each alone, or all in one damaged puzzle.

    Args:
        encoder: images (B, 3, H, W) in 0..1 to vectors (B, encoder.dim), with `.stages` (see
            `sslcourse.encoders`).
        tasks: some of "jigsaw" (the pieces are shuffled), "inpainting" (one is missing), "colour" (their
            colours are asked for). All three are CDJP.
        together: all tasks are put in one puzzle, which is damaged in as many ways. If False, each task gets
            a puzzle of its own that
            is damaged in one way only, and the losses are added: the paper's "simple" combination, at as many
                times the cost.
        permutations: how many orders there are.
        grid, side, gap, jitter: pictures are enlarged to `side` pixels and cut into grid x grid pieces, see
            `cut_pieces`.
        normalise: each piece by its own mean and standard deviation.
        fade: which pieces lose their colours where a puzzle is to be coloured: "all" (the paper) or "one".
        grey: whether no piece shows its colours, whatever the task.
        hidden: width of the heads.
        weights: of arrangement, missing piece, colours.
        view: draws one random view of whole pictures before they are cut.
        loss: of a whole damaged puzzle, a function as `damaged_loss`; put your own here.
    """

    orders: Tensor  # (permutations, pieces): the arrangements that are asked for

    @takes(permutations=Number(0, 10_000), grid=Number(2, 8), side=Number(4, 4096), gap=SOME, hidden=WIDTH)
    def __init__(
        self,
        encoder: nn.Module,
        tasks: Sequence[str] = TASKS,
        together: bool = True,
        permutations: int = 24,
        grid: int = 3,
        side: int = 60,
        gap: int = 5,
        jitter: bool = True,
        normalise: bool = True,
        fade: str = "all",
        grey: bool = True,
        hidden: int = 256,
        weights: Sequence[float] = (1.0, 1.0, 1.0),
        view: View | None = None,
        loss=damaged_loss,
    ):
        super().__init__()
        unknown = [t for t in tasks if t not in TASKS]
        if unknown or not tasks:
            raise CourseError(f"tasks={tuple(tasks)}; choose one or more of {', '.join(TASKS)}")
        if fade not in ("all", "one"):
            raise CourseError(f"fade={fade!r}; choose 'all' or 'one'")
        if len(weights) != len(TASKS) or not all(0 <= weight < math.inf for weight in weights):
            raise CourseError(f"weights={tuple(weights)}; one number from 0 for each of {', '.join(TASKS)}")
        if side // grid - gap < 4:
            raise CourseError(
                f"side={side}, grid={grid}, gap={gap}: pieces of {side // grid - gap} pixels are too small; "
                "use a larger side, or a smaller gap"
            )
        self.f = encoder
        self.tasks, self.together = tuple(t for t in TASKS if t in tasks), together
        self.grid, self.side, self.gap, self.jitter, self.normalise = grid, side, gap, jitter, normalise
        self.fade, self.grey = fade, grey
        self.weights, self.whole, self.view = tuple(weights), loss, view or crop_and_flip((0.6, 1.0))
        n, self.size = grid * grid, side // grid - gap
        self.places = -(-self.size // 2)  # along a piece: colours are told at half the resolution
        self.register_buffer("orders", permutation_set(all_orders(n), permutations))
        out = BINS * self.places**2
        self.context = nn.Sequential(
            nn.Linear(n * dim_of(encoder), hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
        )
        heads: dict[str, nn.Module] = {}
        if "jigsaw" in self.tasks:
            heads["jigsaw"] = nn.Linear(hidden, permutations)
        if "inpainting" in self.tasks:  # told what the others are, and which one is missing
            heads["inpainting"] = nn.Sequential(
                nn.Linear(hidden + n, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out)
            )
        if "colour" in self.tasks:  # told what the piece is, place by place, and what the others are
            heads["colour"] = nn.Sequential(
                nn.Linear(hidden + 4 * dim_of(encoder), hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out)
            )
        self.heads = nn.ModuleDict(heads)

    def seen(self, piece: Tensor) -> Tensor:
        """Pieces or pictures (..., 3, h, w), 0 to 1, as the encoder is shown them: grey, then normalised
        about 0.
        """
        if self.grey:
            piece = greyed(piece)
        return normalised(piece) if self.normalise else 4 * piece - 2

    def pose(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Make puzzles of pictures (B, 3, H, W), 0 to 1, damaged as the tasks need it (by default all of this
        method's).

        Returns, with n pieces of t pixels and colours at s = t / 2 places along each:
            piece (B, n, 3, t, t): as they lie in the puzzle, whole and in colour; nobody is shown them shown
            (B, n, 3, t, t): what the encoder is given; a missing piece is 0 bins (B, n, s, s): their colours,
            see `colour_bins` permutation (B,), order (B, n): which of the orders it is; place k shows the
            piece that belongs at place order[k] missing (B,): the place whose piece is missing, or -1 faded
            (B, n): which pieces lie there without their colours, and are to be coloured
        """
        tasks = self.tasks if tasks is None else tasks
        x = as_float(image)
        if x.shape[-1] != self.side:
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        b, device = len(x), x.device
        pieces = cut_pieces(x, self.grid, self.gap, self.jitter)
        if "jigsaw" in tasks:
            permutation = torch.randint(len(self.orders), (b,), device=device)
            pieces = shuffled(pieces, self.orders[permutation])
        else:
            permutation = torch.zeros(b, dtype=torch.long, device=device)  # the first order is: not shuffled
        bins = colour_bins(pieces.flatten(0, 1))[:, ::2, ::2].unflatten(0, (b, -1))
        if "inpainting" in tasks:
            missing = torch.randint(pieces.shape[1], (b,), device=device)
        else:
            missing = torch.full((b,), -1, device=device)
        there = self._there(missing)
        faded = there if "colour" in tasks else torch.zeros_like(there)
        if self.fade == "one":
            # Any but the missing one: the first of a random order that is there.
            chosen = (torch.rand(there.shape, device=device) * there).argmax(1)
            faded = faded & (chosen[:, None] == torch.arange(there.shape[1], device=device))
        shown = torch.where(faded[..., None, None, None], greyed(pieces), pieces)
        return {
            "piece": pieces,
            "shown": self.seen(shown) * there[..., None, None, None],
            "bins": bins,
            "permutation": permutation,
            "order": self.orders[permutation],
            "missing": missing,
            "faded": faded,
        }

    def _there(self, missing: Tensor) -> Tensor:
        """(B, n): whether each place of the puzzle has its piece."""
        return missing[:, None] != torch.arange(self.grid**2, device=missing.device)

    def answers(self, maps: Tensor, missing: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """From the encoder's last maps of all pieces (B, n, D, h, w): "orders" (B, P) and "colours" (B, n, Q,
        s, s), where asked for.
        """
        b, n = maps.shape[:2]
        there = self._there(missing)
        u = maps.mean((3, 4)) * there[..., None]  # (B, n, D), nothing where nothing lies
        context = self.context(u.flatten(1))  # (B, hidden)
        result = {}
        if "jigsaw" in tasks:
            result["orders"] = self.heads["jigsaw"](context).float()
        colours = None
        if "colour" in tasks:
            each = F.adaptive_avg_pool2d(maps.flatten(0, 1), 2).flatten(1)  # (B * n, 4 D)
            colours = self.heads["colour"](torch.cat([each, context.repeat_interleave(n, 0)], 1)).unflatten(
                0, (b, n)
            )
        if "inpainting" in tasks:
            filled = self.heads["inpainting"](torch.cat([context, (~there).to(context.dtype)], 1))[:, None]
            colours = (
                filled.expand(b, n, -1) if colours is None else torch.where(there[..., None], colours, filled)
            )
        if colours is not None:
            result["colours"] = colours.float().unflatten(2, (BINS, self.places, self.places))
        return result

    def read(self, puzzles: Sequence[dict[str, Tensor]]) -> Sequence[Tensor]:
        """The encoder's last maps, (B, n, D, h, w) for each set of puzzles, in one pass for all (and with
        their batch statistics).
        """
        shown = torch.cat([p["shown"] for p in puzzles])
        return self.f.stages(shown.flatten(0, 1)).unflatten(0, shown.shape[:2]).chunk(len(puzzles))

    def views(self, batch):
        """Pieces as the encoder is shown them, brought back to 0..1 for the eye."""
        x = self.view(images_of(batch))
        sets = {"puzzle": self.tasks} if self.together else {t: (t,) for t in self.tasks}
        return {name: (self.pose(x, t)["shown"] / 4 + 0.5).clamp(0, 1) for name, t in sets.items()}

    def loss(self, batch):
        x = self.view(images_of(batch))
        sets = [self.tasks] if self.together else [(t,) for t in self.tasks]
        puzzles = [self.pose(x, tasks) for tasks in sets]
        total, metrics = 0.0, {}
        for tasks, puzzle, maps in zip(sets, puzzles, self.read(puzzles)):
            answer = self.answers(maps, puzzle["missing"], tasks)
            total = total + self._loss(tasks, puzzle, answer)
            metrics |= self.marks(puzzle, answer, tasks)
        return total, metrics

    def _loss(self, tasks: Sequence[str], puzzle: dict[str, Tensor], answer: dict[str, Tensor]) -> Tensor:
        if len(tasks) == len(TASKS):
            return self.whole(
                answer["orders"],
                puzzle["permutation"],
                answer["colours"],
                puzzle["bins"],
                puzzle["missing"],
                puzzle["faded"],
                self.weights,
            )
        there, faded, terms = self._there(puzzle["missing"]), puzzle["faded"], []
        if "jigsaw" in tasks:
            terms.append(self.weights[0] * order_term(answer["orders"], puzzle["permutation"]))
        if "inpainting" in tasks:
            terms.append(self.weights[1] * colour_term(answer["colours"][~there], puzzle["bins"][~there]))
        if "colour" in tasks:
            terms.append(self.weights[2] * colour_term(answer["colours"][faded], puzzle["bins"][faded]))
        return torch.stack(terms).sum()

    @torch.no_grad()
    def marks(
        self, puzzle: dict[str, Tensor], answer: dict[str, Tensor], tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """Shares from 0 to 1: "puzzles solved", and of the colours' places "filled right" (missing piece) and
        "coloured right".
        """
        result, there = {}, self._there(puzzle["missing"])
        if "jigsaw" in tasks:
            result["puzzles solved"] = ties.found(answer["orders"], puzzle["permutation"]).mean()
        for task, name, where in (
            ("inpainting", "filled right", ~there),
            ("colour", "coloured right", puzzle["faded"]),
        ):
            if task in tasks:
                colours = answer["colours"][where].movedim(1, -1)
                result[name] = ties.found(colours, puzzle["bins"][where]).mean()
        return result

    @torch.no_grad()
    def solve(self, image: Tensor, seed: int = 0) -> dict[str, Tensor]:
        """Damage pictures (B, 3, H, W) by a seed, in all ways of this method's tasks at once, and mend them:
        for the eye, and for a score.

        Returns what `pose` does, and besides
            answer (B, n): the order that the network takes it for (the true one where it was not asked)
            colours (B, n, Q, s, s): its scores, where it was asked mended (B, n, 3, t, t): the pieces laid
            out by its answer, in the colours that it gave them, on their true lightness
        """
        training = self.training
        self.eval()
        with torch.random.fork_rng(devices=[image.device] if image.device.type == "cuda" else []):
            torch.manual_seed(seed)
            puzzle = self.pose(image)
        answer = self.answers(self.read([puzzle])[0], puzzle["missing"], self.tasks)
        self.train(training)
        order = self.orders[answer["orders"].argmax(1)] if "orders" in answer else puzzle["order"]
        there = self._there(puzzle["missing"])
        flat = puzzle["piece"].flatten(0, 1)
        lightness = lab(flat)[:, :1]
        if "colours" in answer:
            # Sharpened before the mean over colours is taken, as in Zhang, Isola and Efros (2016): the plain
            # mean is nearly grey.
            share = (answer["colours"].flatten(0, 1) / 0.38).softmax(1)  # (B * n, Q, s, s)
            ab = torch.einsum("bqhw,qc->bchw", share, bin_colours(flat.device).to(share.dtype))
            ab = F.interpolate(ab, size=flat.shape[-2:], mode="bilinear", align_corners=False).unflatten(
                0, there.shape
            )
            asked = puzzle["faded"] | ~there
            ab = ab * asked[..., None, None, None]
        else:
            ab = torch.zeros(*there.shape, 2, *flat.shape[-2:], device=flat.device)
        mended = from_lab(torch.cat([lightness, ab.flatten(0, 1)], 1)).unflatten(0, there.shape)
        return {**puzzle, **answer, "answer": order, "mended": restored(mended, order)}

    def encode(self, batch):
        x = floats_of(batch)
        if x.shape[-1] != self.side:
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return self.f(self.seen(x) / 4 + 0.5)  # the encoder spreads 0..1 about 0 itself


# ---------------------------------------------------------------------------------------------- by name


def settings_for(recipe: str, toy: bool, classes: int) -> dict:
    """What this method is under each recipe, on the toybox or on real pictures; plain values, for files."""
    sizes = (
        dict(permutations=24, side=60, gap=5, hidden=256)
        if recipe != "gpu"
        else dict(permutations=100, side=63, gap=3, hidden=512)
    )
    return {
        "tasks": list(TASKS),
        "together": True,
        "grid": 3,
        "jitter": True,
        "normalise": True,
        "fade": "all",
        "grey": True,
        "weights": [1.0, 1.0, 1.0],
        "area": [0.6, 1.0],
        **sizes,
    }


def from_settings(encoder: nn.Module, settings: dict) -> Jigsaw:
    """The method that `settings` describe."""
    return Jigsaw(
        encoder, **{k: v for k, v in settings.items() if k != "area"}, view=crop_and_flip(settings["area"])
    )


SPEC = Spec(
    name="jigsaw",
    lesson="03_damaged_jigsaw",
    title="Jigsaw",
    course=COURSE,
    full=FULL,
    gpu=GPU,
    settings=settings_for,
    build=from_settings,
)
