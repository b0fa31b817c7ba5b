"""Charts have no ground of their own: every ink stands out from a white page and from dark ones, and none is
used twice in one chart. Contrasts are computed here from WCAG 2.1's definition, from the pixels of the PNG.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse import show
from sslcourse.show import films, look

WHITE = "#FFFFFF"
DARK = {"JupyterLab": "#111111", "the course's pages": "#131416", "GitHub": "#0D1117"}
NAMES = ("sphere", "cube", "cylinder", "cone")


def luminance(colour: str) -> float:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def drawn(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(show.png(figure))).convert("RGBA"))


def solid(figure, least: int = 12) -> set[str]:
    """The colours of at least so many pixels without any transparency."""
    found = drawn(figure)
    colours, count = np.unique(found[found[..., 3] == 255][:, :3], axis=0, return_counts=True)
    return {"#{:02X}{:02X}{:02X}".format(*c) for c, n in zip(colours, count) if n >= least}


ROWS = [{"epoch": i + 1, "loss": 4 - i / 5, "kNN": 0.3 + i / 50} for i in range(6)]
SOLID = {  # charts of inks alone: no image, no colour map, no mark with an edge of its own
    "history": lambda: show.history({"a": ROWS, "b": ROWS[::-1]}, ("loss", "kNN"), title="Title"),
    "bars": lambda: show.bars({f"method {i}": 0.2 + i / 40 for i in range(14)}, title="Title"),
    "curve": lambda: show.curve([1, 2, 3], {f"m{i}": [i, i + 1, i] for i in range(14)}, "x", "y"),
    "embedding": lambda: show.embedding(torch.randn(80, 2), torch.arange(80) % 5 - 1, NAMES),
    "intervals": lambda: show.intervals([("a", 1, 0, 2, "pass"), ("b", 0, -1, 1, "inconclusive")]),
}


def test_every_ink_stands_out_from_white_and_from_dark_pages():
    inks = [look.colour_of(n) for n in range(40)] + [look.RIGHT, look.WRONG, look.PALE, *films.KIND_COLOURS]
    for ground in (WHITE, *DARK.values()):
        for ink in inks:
            assert contrast(ink, ground) >= 3, f"{ink} on {ground}: {contrast(ink, ground):.2f}"
        for ink in (look.INK, look.SOFT):
            assert contrast(ink, ground) >= 4.2, f"words on {ground}: {contrast(ink, ground):.2f}"
    # 4.5 on both is beyond any colour: the contrasts with two grounds multiply to that between the grounds.
    assert contrast(WHITE, DARK["JupyterLab"]) < 4.5**2
    for n in (look.RIGHT, look.WRONG):
        assert contrast(n, "#FFFFFF") >= 4.5  # signs stand on them in white


def test_no_colour_comes_twice():
    many = [look.colour_of(n) for n in range(30)]
    assert len(set(many)) == 30 and many[:10] == list(show.COLOURS)


@pytest.mark.parametrize("name", SOLID)
def test_what_a_chart_really_shows_reads_on_both_pages(name):
    figure = SOLID[name]()
    found = drawn(figure)
    assert found[0, 0, 3] == found[-1, -1, 3] == 0 and (found[..., 3] == 0).mean() > 0.3, "a block of ground"
    inks = solid(figure)
    assert look.INK in inks or name == "embedding"  # whose words are too thin for a solid pixel
    for ink in inks:
        for ground in (WHITE, "#111111"):
            assert contrast(ink, ground) >= 3, f"{ink} on {ground}: {contrast(ink, ground):.2f}"


def test_bars_of_fourteen_methods_have_fourteen_colours():
    assert {look.colour_of(n) for n in range(14)} <= solid(SOLID["bars"](), 200)


def test_a_palette_keeps_inks_and_transparency():
    page = np.zeros((60, 90, 4), np.uint8)
    page[:20] = (0x79, 0x79, 0x79, 255)
    y, x = np.mgrid[:30, :90]  # more colours than a palette has
    page[30:] = np.stack([60 + 2 * x, 8 * y, 200 - 2 * x, 255 - 4 * y], 2)
    page[20:30] = (255, 255, 255, 0)
    back = np.asarray(Image.open(io.BytesIO(show.encode_png(Image.fromarray(page)))).convert("RGBA"))
    assert (back[:30] == page[:30]).all()
    for ground in (WHITE, "#111111"):
        seen, wanted = (look.on_ground(p[30:], ground).astype(int) for p in (back, page))
        assert np.abs(seen - wanted).mean() < 14, "the others are near what they were"


def test_a_sheet_of_pictures_keeps_its_white_ground():
    page = drawn(show.grid(torch.zeros(2, 3, 8, 8), titles=["a", "b"], title="Title"))
    assert (page[..., 3] == 255).all() and (page[0, 0] == 255).all()
    darkest = page[..., :3].reshape(-1, 3).min(0)
    assert (darkest < 60).all()


def test_a_chart_on_a_page_looks_as_if_it_were_drawn_there():
    figure = SOLID["history"]()
    clear = look.on_ground(look.rgba(figure), "#FFFFFF").astype(int)
    figure.set_facecolor("white")
    assert np.abs(clear - look.pixels(figure)).max() <= 4
