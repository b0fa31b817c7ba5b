"""Files of results, as they are written and read back: worlds of the wall, your own rows, claims of a paper.

Every file is held to a schema when it is read, and to the digest that was written with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

from sslcourse import runtime
from sslcourse.runtime import pages, text
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.pages import Counted, Name, ProfilePage, Values, Versions

Some = Annotated[Values, msgspec.Meta(min_length=1)]


class Row(msgspec.Struct):
    """A method's scores, one for each seed."""

    kNN: Some
    linear: Some
    few: Values = msgspec.field(default_factory=list, name="few labels")
    seconds: Values = []
    epochs: Counted | None = None
    batch_size: Counted | None = None


class World(msgspec.Struct):
    """What `compare.run` returns and the wall keeps."""

    data: Name
    protocol: Name
    encoder: Name
    seeds: Counted
    profile: Name
    versions: Versions
    rows: dict[Name, Row]
    factors: dict[Name, dict[Name, Some]] = {}


class MyRow(Row):
    """A row that `wall.add` wrote."""

    factors: dict[Name, Some] = {}
    versions: Versions | None = None
    profile: Name = ""
    judged: list[dict[str, Any]] = []  # what each value was measured on; files of before have none


Mine = dict[Name, dict[Name, MyRow]]  # world -> name -> row


class Claims(msgspec.Struct):
    """The runs of a paper's claims: seed -> what the paper's functions read."""

    paper: Name
    runs: dict[Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,9})$")], dict[str, Any]]
    versions: Versions = msgspec.field(default_factory=Versions)
    profile: ProfilePage | None = None
    verdicts: list[dict[str, Any]] = []
    code: Name = ""  # what the seeds were run by, and with; files of before say neither
    arguments: dict[str, Any] = {}


def opened(file: str | os.PathLike[str], shape: Any, again: str) -> dict:
    """The page of a file of results, without its seal.

    Args:
        shape: `World`, `Mine` or `Claims`.
        again: what to type to write the file again.

    Raises:
        CourseError: the file is none of these, or was changed.
    """
    try:
        page = pages.unchanged(pages.read(file, dict[str, Any]))
        if text.finite(page) != page:
            raise pages.Unfit("it holds numbers that are not finite")
        return pages.fitting(page, shape)
    except pages.Unfit as error:
        raise CourseError(
            f"{str(file)!r} is not a file of results ({error}); delete it, or write it again: {again}"
        ) from None


def write(page: dict, file: str | os.PathLike[str], seal: bool = True) -> None:
    """Write a page, whole or not at all.

    Args:
        seal: with its digest. Files that come with the course have none: they are merged line by line.
    """
    if text.finite(page) != page:
        raise CourseError(
            f"a score is not a finite number, and {str(file)!r} was not written; measure it again"
        )
    written = json.dumps(pages.sealed(page) if seal else page, indent=1, ensure_ascii=False)
    with runtime.atomic(Path(file)) as temporary:
        temporary.write_text(text.encodable(written) + "\n", encoding="utf-8", newline="\n")
