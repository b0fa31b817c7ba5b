"""Pages of JSON that we wrote and read back: held to a schema, and to a digest of their own.

    fitting(page, shape)    the page, once it has the keys and types that `shape` says
    parsed(text, shape)     the same of a text
    read(file, shape)       the same of a file
    digest(page)            of all that stands in a page
    sealed, unchanged       a page with its digest in it, and a page whose digest fits

A page may be damaged, of another version, or a stranger's. What is wrong with it is an `Unfit` in one
sentence, never a KeyError where it is used. The schemas are TypedDicts and Structs that msgspec checks.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.text import encodable

MOST_BYTES = 256 << 20  # of one page; the largest, the index of a hundred thousand films, has 20 MB
SEAL = "sealed"  # the key of a page's digest

Whole = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Counted = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Name = Annotated[str, msgspec.Meta(max_length=4096)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Values = list[int | float]  # one for each seed


class Versions(msgspec.Struct):
    """Of everything that a number can depend on; see `checkpoints.versions`."""

    sslcourse: Name = ""
    python: Name = ""
    torch: Name = ""
    machine: Name = ""


class ProfilePage(msgspec.Struct, forbid_unknown_fields=True):
    """A `runtime.Profile` as it is written."""

    device: Literal["cpu", "cuda", "mps"]
    threads: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    channels_last: bool
    precision: Literal["float32", "bfloat16"]


class Unfit(CourseError):
    """A page is not what it should be; the text is half a sentence, such as "its step is missing"."""


def fitting(page: Any, shape: Any) -> Any:
    """The page itself, once it has the keys and types of `shape`.

    Raises:
        Unfit: it has not; the text says where.
    """
    try:
        msgspec.convert(page, shape)
    # UnicodeEncodeError: half of a surrogate pair, which is no text of ours.
    except (msgspec.ValidationError, RecursionError, OverflowError, UnicodeEncodeError) as error:
        raise Unfit(encodable(f"{error}"[:300])) from None
    return page


def parsed(text: str | bytes, shape: Any) -> Any:
    """The page that a text writes, once it has the keys and types of `shape`.

    Raises:
        Unfit: the text is no JSON, too long, nested too deep, or another page.
    """
    if len(text) > MOST_BYTES:
        raise Unfit(f"it is longer than {MOST_BYTES:,} bytes")
    try:
        page = json.loads(text)
    except (ValueError, RecursionError) as error:  # bytes that are no UTF-8, too, and numbers of 5,000 digits
        raise Unfit(f"it is no JSON: {encodable(error)[:200]}") from None
    return fitting(page, shape)


def read(file: str | os.PathLike[str], shape: Any) -> Any:
    """The page of a file, once it has the keys and types of `shape`.

    Raises:
        Unfit: the file cannot be read, or holds another page.
    """
    path = Path(file)
    try:
        if path.stat().st_size > MOST_BYTES:  # before it is read
            raise Unfit(f"it is longer than {MOST_BYTES:,} bytes")
        text = path.read_bytes()
    except OSError as error:
        raise Unfit(f"it cannot be read: {error.strerror or error}") from None
    return parsed(text, shape)


def digest(page: dict) -> str:
    """SHA-256 of all that stands in a page but its seal."""
    whole = {key: value for key, value in page.items() if key != SEAL}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def sealed(page: dict) -> dict:
    """The page with its digest in it."""
    plain = json.loads(json.dumps(page))  # as it will be read: keys are text, tuples are lists
    return {**plain, SEAL: digest(plain)}


def unchanged(page: dict) -> dict:
    """The page without its seal, once that fits; one that has none (an earlier version wrote it) passes.

    Raises:
        Unfit: something in it was changed.
    """
    if SEAL in page and page[SEAL] != digest(page):
        raise Unfit("it is not what was written (its digest differs)")
    return {key: value for key, value in page.items() if key != SEAL}
