"""sslcourse: a hands-on course on self-supervised learning.

`import sslcourse` costs little more than `import torch`: every part loads when it is first used, so that
`sslcourse.evaluate` needs no import line of its own.
"""

import importlib
import os
import sys

# Threads that wait for each other spin, and on a busy machine they spin away the very time their partner needs: two threads then
# run ten times slower than one. A short spin costs an idle machine nothing and takes most of that away. The library that runs the
# threads (GNU OpenMP) reads this once, when torch is loaded, so `import sslcourse` stands before `import torch` in the notebooks.
if "torch" not in sys.modules:
    os.environ.setdefault("GOMP_SPINCOUNT", "100")

__version__ = "0.1.0"

_PARTS = ("augment", "check", "checkpoints", "claims", "common", "compare", "data", "distributed", "encoders", "evaluate",
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
