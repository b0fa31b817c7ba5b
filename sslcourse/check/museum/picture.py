"""The museum's pictures: tests against planted bugs, as boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sslcourse.check.museum.engine import EXHIBITS, Exhibit, Outcome
from sslcourse.runtime.errors import CourseError

# ------------------------------------------------------------------------------- what came of it, as pictures

# ground and ink; a tick or a cross says the same
_GOOD, _BAD = (("#E3F3EC", "#00795A"), ("#FBE7E0", "#C4441C"))
_ROW, _NAME, _TOP = 46, 150, 26  # pixels


def _cells(
    sheet, left: float, top: float, width: float, outcomes: Sequence[Outcome], wrong_word: str
) -> None:
    """A row of boxes, one for each implementation: a tick where the test said what it should."""
    from matplotlib.patches import Rectangle

    from sslcourse.show import look

    each = width / max(1, len(outcomes))
    for i, o in enumerate(outcomes):
        ground, ink = _GOOD if o.right else _BAD
        x = left + i * each
        sheet.axes.add_patch(
            Rectangle(
                (x + 1.5, top + 1.5),
                each - 3,
                _ROW - 3,
                facecolor=ground,
                edgecolor=ink,
                linewidth=1.0,
                linestyle="-" if o.right else (0, (3, 1.5)),
            )
        )
        text = f"\u2713 {o.name}" if o.right else f"\u2717 {wrong_word}: {o.name}"
        sheet.text(x + each / 2, top + _ROW / 2, look.wrapped(text, each - 2, 8), 8, va="center", color=ink)


def _score(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(o.right for o in outcomes)} of {len(outcomes)}"


def _page(rows: int, pitch: int):
    from sslcourse import show
    from sslcourse.show import sheets

    # boxes and text: a small palette says the same in a third of the bytes
    return sheets.Sheet(show.WIDTH * show.DPI, _TOP + rows * pitch, colours=20)


def trial(name: str, test: Callable, seed: int = 0):
    """What a test said of every implementation of an exhibit, as a picture: a tick where it said what it
    should.
    """
    from sslcourse.show import look

    outcomes = _exhibit(name).outcomes(test, seed)
    rows = {
        "right implementations": ([o for o in outcomes if not o.bug], "rejected"),
        "planted bugs": ([o for o in outcomes if o.bug], "missed"),
    }
    sheet = _page(len(rows), _ROW + 4)
    said = (
        f"{_score(rows['right implementations'][0])} right ones pass, "
        f"{_score(rows['planted bugs'][0])} planted bugs are caught"
    )
    sheet.text(4, 5, f"{name}: {said}", 10, ha="left")
    for i, (kind, (found, wrong)) in enumerate(rows.items()):
        top = _TOP + i * (_ROW + 4)
        sheet.text(4, top + _ROW / 2, look.wrapped(kind, _NAME - 8, 9), 9, ha="left", va="center")
        _cells(sheet, _NAME, top, sheet.width - _NAME - 4, found, wrong)
    return sheet.done()


def matrix(tests: Mapping[str, Callable], seed: int = 0):
    """Tests against planted bugs, as a picture: a row for each test, a box for each bug.

    Args:
        tests: exercise -> test, such as {"museum.partner": test_partner}.
    """
    from sslcourse import show
    from sslcourse.show import look

    if not tests:
        raise CourseError('no tests to show: pass {"museum.partner": test_partner, ...}')
    right_width = 92
    sheet = _page(len(tests), _ROW + 2)
    for x, text in (
        (4, "your test for"),
        (_NAME + 4, "right ones"),
        (_NAME + right_width + 6, "planted bugs, the plain one first"),
    ):
        sheet.text(x, 6, text, 9, ha="left", color=show.SOFT)
    for i, (name, test) in enumerate(tests.items()):
        outcomes, top = _exhibit(name).outcomes(test, seed), _TOP + i * (_ROW + 2)
        right = [o for o in outcomes if not o.bug]
        pass_all = all(o.right for o in right)
        summary = Outcome(f"{_score(right)} pass", False, ("passes",) if pass_all else ("fails",))
        sheet.text(
            4,
            top + _ROW / 2,
            look.wrapped(_exhibit(name).title, _NAME - 10, 8.5),
            8.5,
            ha="left",
            va="center",
        )
        _cells(sheet, _NAME, top, right_width, [summary], "only")
        _cells(
            sheet,
            _NAME + right_width + 4,
            top,
            sheet.width - _NAME - right_width - 8,
            [o for o in outcomes if o.bug],
            "missed",
        )
    return sheet.done()


def caught(tests: Mapping[str, Callable], seed: int = 0) -> dict[str, dict[str, bool]]:
    """For each exercise and each of its planted bugs, whether the test catches it; and "right ones pass",
    whether it rejects none.
    """
    table = {}
    for name, test in tests.items():
        outcomes = _exhibit(name).outcomes(test, seed)
        table[name] = {o.name: o.right for o in outcomes if o.bug} | {
            "right ones pass": all(o.right for o in outcomes if not o.bug)
        }
    return table


def _exhibit(name: str) -> Exhibit:
    if name not in EXHIBITS:
        raise CourseError(f"there is no exhibit {name!r}; there are {', '.join(EXHIBITS)}")
    return EXHIBITS[name]
