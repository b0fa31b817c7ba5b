"""Text of strangers in each place where it is shown: a terminal, a spreadsheet, a page."""

import csv
import html.parser
import io
import json
import unicodedata

import pytest

from sslcourse.runtime import text

STRANGE = [
    "\x1b[2J\x1b]0;title\x07",
    "a\rb",
    "\x9b31m",  # one byte that begins a sequence
    "\u202etxt.exe",  # turns the direction of writing
    "\u2066x",
    "caf\udcc3",
    "\x00",
    "\x7f",
    "line\u2028end",
]


@pytest.mark.parametrize("strange", STRANGE)
def test_a_terminal_gets_no_control(strange):
    shown = text.for_terminal(f"before {strange} after\n\tnext")
    assert shown.isprintable() or all(c.isprintable() or c in "\n\t" for c in shown)
    assert not {unicodedata.category(c) for c in shown.replace("\n", "").replace("\t", "")} & {"Cc", "Cs"}
    assert shown.startswith("before ") and shown.endswith(" after\n\tnext")
    shown.encode("utf-8")


def test_what_people_write_stays():
    for kept in ("Größe ± 3 °C", "日本語", "עברית", "العربية", "👩‍🔬 naïve", "µ→∞", "tab\tand\nline"):
        assert text.for_terminal(kept) == text.encodable(kept) == kept


# Each of the ways in which spreadsheets divide a file; none may find a cell that begins like a formula.
@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(1)",
        " =1",
        "\t=1",
        "\r=1",
        '"=1',
        ";=1+1",
        "a;=1;-2+3",
        "x\n=1",
        "\uff1d1",
    ]
    + ["a\t=1", "\N{NO-BREAK SPACE}=1", "'=1"],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quotes", [True, False])
def test_no_cell_is_a_formula(cell, delimiter, quotes):
    file = io.StringIO()
    csv.writer(file).writerow(["name", text.for_csv(cell), "end"])
    reading = {} if quotes else {"quoting": csv.QUOTE_NONE}
    for row in csv.reader(io.StringIO(file.getvalue()), delimiter=delimiter, **reading):
        for found in row:
            assert found.strip().lstrip('" ')[:1] not in tuple("=+-@\uff1d"), row


def test_numbers_stay_numbers_in_a_spreadsheet():
    for number in ("-1.5", "+3", "1e-3", "-.5", "40%"):
        assert text.for_csv(number) == number
    assert text.for_csv(-2.5) == "-2.5" and text.for_csv("a, b - c; d") == "a, b - c; d"


class _Scripts(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.content = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.content += data


@pytest.mark.parametrize(
    "strange", ["</script><img src=x onerror=alert(1)>", "<!--<script>", "&lt;", "\udcff", "\u2028"]
)
def test_a_page_gets_what_was_meant_and_no_other_element(strange):
    value = {"name": strange, "scores": [1.5, float("nan"), float("inf")], strange: [strange]}
    parser = _Scripts()
    parser.feed(f"<script type='application/json'>{text.for_page(value)}</script>")
    assert parser.tags == ["script"]
    assert json.loads(parser.content) == {"name": strange, "scores": [1.5, None, None], strange: [strange]}
    assert not set("<>&\u2028") & set(text.for_page(value))
    text.for_page(value).encode("utf-8")


# ---------------------------------------------------------------------------------------------- everywhere


@pytest.mark.parametrize("name", ["$\\frac{$", "a $x$ b", "caf\udcc3", "\x1b[31mred", "<b>&", "two\nlines"])
def test_names_are_drawn_as_they_are(name):
    """Names of classes and files are no formulas, and each has letters that a font can draw."""
    import torch

    from sslcourse import show

    pictures = [
        show.bars({name: 0.5, "b": 0.2}, title=name),
        show.embedding(torch.eye(4)[:, :2], torch.arange(4) % 2, classes=[name, "b"], title=name),
        show.history([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}], title=name),
        show.curve([1, 10, 100], {name: [1, 2, 3]}, name, name, log=True, title=name),
    ]
    for picture in pictures:
        assert show.png(picture).startswith(b"\x89PNG")


def test_tables_and_reports_escape_names():
    from sslcourse import show
    from sslcourse.evaluate import Report

    strange = "<img src=x onerror=alert(1)>"
    for page in (
        show.table([{strange: strange}], caption=strange)._repr_html_(),
        Report([{"features": strange, "kNN": 0.5}], strange, strange, 1)._repr_html_(),
    ):
        parser = _Scripts()
        parser.feed(page)
        assert "img" not in parser.tags and strange in parser.content


def test_the_terminal_of_a_command_gets_no_escape(capsys):
    from sslcourse.commands.parser import main

    for words in (
        ["train", "simclr", "--data", "\x1b[2Jx\udcff"],
        ["\x1b]0;title\x07"],
        ["data", "\x1b[31m"],
    ):
        assert main(words) == 2
        said = capsys.readouterr()
        assert "\x1b" not in said.err + said.out and said.err.count("\n") == 1
        said.err.encode("utf-8")
