"""Live panels, replays and explorers. Nothing loads matplotlib or ipywidgets before it is used."""

import importlib

_HOMES = {
    "Panel": "live", "align": "live", "map2d": "live",
    "Replay": "replay", "side_by_side": "replay", "recorded": "recording",
    "toybox": "explorers", "augmentations": "explorers", "temperature": "explorers",
    "clusters": "maps", "neighbours": "maps", "text_box": "captions", "filters": "gallery", "puzzles": "puzzle",
    "pointer": "video", "clip": "video", "Films": "films",
}  # fmt: skip

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"sslcourse.widgets.{_HOMES[name]}"), name)
    if name in {*_HOMES.values(), "views", "page"}:
        return importlib.import_module(f"sslcourse.widgets.{name}")
    raise AttributeError(f"sslcourse.widgets has no {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted((*globals(), *__all__))
