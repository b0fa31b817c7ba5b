"""sslcourse: a hands-on course on self-supervised learning.

`import sslcourse` costs little more than `import torch`: every part loads when it is first used, so that
`sslcourse.evaluate` needs no import line of its own.
"""

import importlib

__version__ = "0.1.0"

_PARTS = ("augment", "check", "checkpoints", "claims", "common", "data", "distributed", "encoders", "evaluate",
          "features", "health", "methods", "show", "train", "widgets")  # fmt: skip
_NAMES = {"setup": "sslcourse.start", "free": "sslcourse.common", "seed_all": "sslcourse.common",
          "CourseError": "sslcourse.common", "Recipe": "sslcourse.train", "epochs": "sslcourse.train",
          "fit": "sslcourse.train"}  # fmt: skip


def __getattr__(name: str):
    if name in _PARTS:
        return importlib.import_module(f"sslcourse.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"sslcourse has no {name!r}; it has {', '.join(sorted((*_PARTS, *_NAMES)))}")


def __dir__():
    return sorted((*globals(), *_PARTS, *_NAMES))
