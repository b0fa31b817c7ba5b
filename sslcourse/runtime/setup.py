"""The first line of every notebook: `sslcourse.setup()`."""

from __future__ import annotations

import sys

from sslcourse.runtime import device
from sslcourse.runtime.options import SEED, takes
from sslcourse.runtime.seeds import seed_all


@takes(seed=SEED)
def setup(seed: int = 0, quiet: bool = False) -> device.Profile:
    """Seed everything, measure what this machine is good at (about a second), and say it in one line."""
    import torch

    from sslcourse import __version__

    seed_all(seed)
    profile = device.profile()
    if not quiet:
        print(f"sslcourse {__version__}, torch {torch.__version__.split('+')[0]}, computing on {profile}")
        if profile.device == "cpu" and "google.colab" in sys.modules:
            print(
                "No GPU is attached. Everything runs, slowly. For a GPU: Runtime > Change runtime type > "
                "T4 GPU."
            )
    return profile
