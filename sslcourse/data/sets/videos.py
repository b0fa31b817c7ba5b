"""Prepare your own videos, or folders of frames, as clips to train on.

    sslcourse data videos VIDEOS --to CLIPS          decode, scale, cut
    sslcourse train dpc --data CLIPS                          any method that learns from videos

VIDEOS is a folder with one subfolder per class, or with videos alone, which then have no classes; with
the subfolders train, validation and test it brings its own splits, else they are made. A folder of
numbered pictures counts as a video. It can be stopped at any moment and typed again, also after videos
were added or replaced: only what is new, changed or damaged is decoded. A video that cannot be read is
named and left out. It needs PyAV (pip install av); at 64 pixels and 8 frames a second, an hour is 350 MB.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sslcourse.data import clips, download
from sslcourse.runtime.options import PIXELS, Number, Parser


def shape(text: str) -> int | tuple[int, int]:
    """64, or 64x112 for 64 pixels high and 112 wide."""
    sides = [PIXELS(word) for word in text.lower().split("x", 1)]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def written(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "sslcourse data videos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="VIDEOS", help="the folder of videos")
    parser.add_argument("--to", metavar="CLIPS", required=True, help="the folder to write")
    parser.add_argument(
        "--size",
        type=shape,
        metavar="PIXELS",
        default=64,
        help="side of the square that is cut from the centre, or HEIGHTxWIDTH (default: 64)",
    )
    parser.add_argument(
        "--fps",
        type=Number(0, 1000.0, whole=False),
        metavar="N",
        default=8.0,
        help="frames that are kept of each second, 0 for all (default: 8)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    download.add_json(parser)
    given = parser.parse_args(argv)
    again = clips.command(f"videos {given.source}", given.to, size=written(given.size), fps=given.fps)
    return download.run_and_report(
        parser.prog,
        given.to,
        lambda: clips.summary(
            clips.prepare(
                given.source, given.to, size=given.size, fps=given.fps or None, quiet=given.quiet, again=again
            ),
            given.to,
        ),
        given.json,
    )
