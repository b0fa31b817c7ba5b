"""Live panels, replays and explorers. Nothing loads matplotlib or ipywidgets before it is used."""

import lazy_loader

# What can be reached from here stands in __init__.pyi, with its home; each part loads when it is first used.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"sslcourse.widgets has no {name!r}; it has {', '.join(__all__)}")
    return _load(name)
