"""Colab's versions as constraints for pip, for `make colab`: the packages of `packages.txt`, without what
belongs to its GPU.

    python tests/colab/constraints.py > constraints.txt

Local versions (2.11.0+cu128) become plain ones. The GPU's own libraries are left out: those of the package
index's PyTorch differ."""

import pathlib
import re


def versions() -> dict[str, str]:
    """Normalised name -> version, as Colab has it."""
    found = {}
    for line in (pathlib.Path(__file__).parent / "packages.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


# Their releases on Colab need Python 3.12, which Colab has; under an older one any release will do.
# (scikit-image asks for tifffile and the course never calls it.)
SINCE = {"tifffile": "3.12"}

if __name__ == "__main__":
    for name, version in versions().items():
        if not name.startswith(
            ("nvidia-", "cuda-", "triton", "cupy", "cudf", "cuml", "pylibcu", "rmm-", "libcu")
        ):
            marker = f'; python_version >= "{SINCE[name]}"' if name in SINCE else ""
            print(f"{name}=={version.split('+')[0]}{marker}")
