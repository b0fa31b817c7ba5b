"""sslcourse: a hands-on course on self-supervised learning.

`import sslcourse` costs little more than `import torch`: every part loads when it is first used, so that
`sslcourse.evaluate` needs no import line of its own. What there is stands in __init__.pyi.
"""

import os
import sys

import lazy_loader

# Threads that wait for each other spin, and on a busy machine they spin away the very time their partner
# needs: two threads then run ten times slower than one. A short spin costs an idle machine nothing and takes
# most of that away. The library that runs the threads (GNU OpenMP) reads this once, when torch is loaded, so
# `import sslcourse` stands before `import torch` in the notebooks.
if "torch" not in sys.modules:
    os.environ.setdefault("GOMP_SPINCOUNT", "100")

__version__ = "0.1.0"


def front_door(package: str, file: str):
    """__getattr__, __dir__ and __all__ of a room: what stands in the __init__.pyi beside `file`.

    Each part loads at its first use. A name that is not there is answered with those that are.
    """
    load, names_of, names = lazy_loader.attach_stub(package, file)

    def get(name: str):
        if name not in names:
            raise AttributeError(f"{package} has no {name!r}; it has {', '.join(names)}")
        return load(name)

    return get, names_of, names


__getattr__, __dir__, __all__ = front_door(__name__, __file__)
