"""Text for each place where it is shown. Names of files and answers of students come from strangers.

for_terminal(text)    no control character reaches the screen: an escape sequence is shown, not obeyed
for_csv(cell)         no spreadsheet takes a cell for a formula
for_page(value)       JSON that can stand inside a script element of a page
encodable(text)       every letter can be written as UTF-8, also of file names that are none
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

# What a cell may begin with to be read as a formula; the wide forms are read so by Japanese spreadsheets.
_FORMULA = "=+\\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
_FORMULA += "\N{FULLWIDTH COMMERCIAL AT}"
# A cell begins at the front, and, for a spreadsheet that divides otherwise, behind ";", a tab or a new line.
# Behind "," none begins: the writer quotes it, and whoever divides at commas knows the quotes.
_CELL = re.compile(rf"""(^|[;\t\r\n])([\s"']*)(?=[{_FORMULA}])""")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?", re.ASCII)
_DANGEROUS_IN_PAGES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def encodable(text: object) -> str:
    r"""The text with every half of a surrogate pair written out, such as \udcff: UTF-8 has no bytes for it.

    Python puts them into names of files that are not UTF-8, and a JSON text may hold them.
    """
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def for_terminal(text: object) -> str:
    r"""The text as it may be printed: control characters and marks that turn the direction of writing are
    written out, such as \x1b; line ends and tabs stay.
    """
    return "".join(letter if _harmless(letter) else _written_out(letter) for letter in str(text))


def _harmless(letter: str) -> bool:
    if letter in "\n\t" or " " <= letter <= "~":
        return True
    kind = unicodedata.category(letter)
    return kind not in ("Cc", "Cs", "Zl", "Zp") and not (
        kind == "Cf" and unicodedata.bidirectional(letter) not in ("BN", "AL", "AN")
    )


def _written_out(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_csv(cell: object) -> str:
    """A cell that no spreadsheet computes: an apostrophe stands before what would begin a formula.

    Numbers stay numbers. Source: OWASP, "CSV Injection".
    """
    text = for_terminal(cell)
    return text if _NUMBER.fullmatch(text) else _CELL.sub(r"\1\2'", text)


def for_page(value: Any) -> str:
    r"""The value as JSON for a script element: "<", ">" and "&" are written as \u003c and so on.

    So nothing in it can end the element or open another. What is not finite becomes null: JSON has none.
    """
    written = json.dumps(finite(value), allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: _DANGEROUS_IN_PAGES[found[0]], written)


def finite(value: Any) -> Any:
    """The value with None in place of NaN and infinity, in dicts and lists too: strict JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    return type(value)(map(finite, value)) if type(value) in (list, tuple) else value
