"""What stands in the index and the journal of a folder of prepared clips: held to this when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from sslcourse.runtime import pages
from sslcourse.runtime.pages import Counted, Name, Sha256, Whole

Side = Annotated[int, msgspec.Meta(ge=4, le=4096)]
Fps = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Hertz = Annotated[int, msgspec.Meta(ge=1000, le=192_000)]


class Shard(msgspec.Struct):
    """A file of frames, and of their sound."""

    frames: Counted
    sha256: Sha256
    sound: Sha256 | None = None


class Columns(msgspec.Struct):
    """One entry for each video, in all columns."""

    name: list[Name]
    stamp: list[int]
    shard: list[Whole]
    start: list[Whole]
    count: list[Counted]
    label: list[Annotated[int, msgspec.Meta(ge=-1, lt=2**31)]] = msgspec.field(name="class")
    group: list[Any]
    split: dict[Name, list[Name]]


class Index(msgspec.Struct):
    """index.json"""

    format: str
    name: Name
    size: Annotated[list[Side], msgspec.Meta(min_length=2, max_length=2)]
    fps: Fps | None
    classes: list[Name]
    shards: dict[Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}$")], Shard]
    videos: Columns
    left_out: list[tuple[Name, str, int]]
    checksum: Sha256
    rate: Hertz | None = None
    again: str | None = None
    silent: list[Name] | None = None  # videos whose sound is silence alone


class Settings(msgspec.Struct):
    """Of a journal: its first line, under "settings"."""

    size: Annotated[list[Side], msgspec.Meta(min_length=2, max_length=2)]
    fps: Fps | None
    rate: Hertz | None = None


class Line(msgspec.Struct):
    """Any other line of a journal: a video that is safely on disk or left out, or a file that is finished."""

    name: Name | None = None
    stamp: int | None = None
    shard: Whole | None = None
    start: Whole | None = None
    count: Counted | None = None
    left_out: str | None = None
    silent: bool | None = None
    file: Whole | None = None
    frames: Counted | None = None
    sha256: Sha256 | None = None
    sound: Sha256 | None = None
    settings: Settings | None = None


def checked(index: Any) -> dict:
    """The index, once its parts fit together: columns of one length, videos in their files, known classes.

    Raises:
        pages.Unfit: they do not.
    """
    pages.fitting(index, Index)
    videos, shards = index["videos"], index["shards"]
    columns = [*(videos[key] for key in videos if key != "split"), *videos["split"].values()]
    if len({len(column) for column in columns}) > 1:
        raise pages.Unfit("its columns differ in length")
    for shard, start, count in zip(videos["shard"], videos["start"], videos["count"]):
        if str(shard) not in shards or start + count > shards[str(shard)]["frames"]:
            raise pages.Unfit(f"a video ends behind the end of file {shard}")
    if any(label >= len(index["classes"]) for label in videos["class"]):
        raise pages.Unfit("a video is of a class that has no name")
    if index.get("rate") is not None and any(entry.get("sound") is None for entry in shards.values()):
        raise pages.Unfit("a file of sound is missing")
    return index


def line(text: str) -> Mapping[str, Any]:
    """A line of a journal.

    Raises:
        pages.Unfit: it is none; a kill may tear the last one.
    """
    entry = pages.parsed(text, Line)
    parts = [{"settings"}, {"file", "frames", "sha256"}, {"name", "stamp", "left_out"}]
    parts.append({"name", "stamp", "shard", "start", "count"})
    if not any(part <= {key for key, value in entry.items() if value is not None} for part in parts):
        raise pages.Unfit("it says neither what is on disk nor what is left out")
    return entry
