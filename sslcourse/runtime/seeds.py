"""How randomness is seeded: `seed_all` for a notebook, `step_seed` for one training step, whatever happened
before it.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from sslcourse.runtime.options import Number, takes

# ---------------------------------------------------------------------------------------------- seeds


@takes(seed=Number(0, 2**64 - 1))
def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (scikit-learn and umap still read the global one)
    torch.manual_seed(seed)


def step_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (run, epoch, step, rank ...): near inputs give unrelated seeds."""
    words = np.random.SeedSequence([int(n) for n in numbers]).generate_state(2, np.uint32)
    return int(words[0]) << 31 ^ int(words[1])


def generator(*numbers: int, device: str = "cpu") -> torch.Generator:
    """A generator of its own, seeded by `step_seed(*numbers)`: cells that use one can be run in any order."""
    return torch.Generator(device).manual_seed(step_seed(*numbers))
