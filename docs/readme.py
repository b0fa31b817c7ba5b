"""The README's table of lessons, from the result files.

python docs/readme.py           writes it between the two comments in README.md
python docs/readme.py --check   exit code 1 where the README says otherwise
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import course_tables  # noqa: E402 (beside this file)

README = HERE.parent / "README.md"
PLACE = re.compile(r"(<!-- lessons: [^\n]*-->\n).*?(<!-- end of lessons -->)", re.S)


def renewed(text: str) -> str:
    """The README's text with the table as the result files have it now.

    Raises:
        SystemExit: the two comments are not there.
    """
    table = course_tables.markdown(course_tables.lessons())
    text, places = PLACE.subn(lambda found: f"{found[1]}{table}\n{found[2]}", text)
    if places != 1:
        raise SystemExit(
            "README.md needs the comments '<!-- lessons: ... -->' and '<!-- end of lessons -->' once, "
            "each on a line of its own"
        )
    return text


def main() -> int:
    text = README.read_text(encoding="utf-8")
    new = renewed(text)
    if "--check" in sys.argv[1:]:
        if new != text:
            print(
                "README.md: the table of lessons is not what the result files say; run: python docs/readme.py"
            )
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    print(f"README.md: {len(new.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
