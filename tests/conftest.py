"""Before anything is imported: shapes in signatures become checks, and results do not depend on the probe of
the machine.
"""

import os
import signal
import tempfile

import pytest

# A cache of their own: tests that damage it must not meet the reader's.
_user = os.getuid() if hasattr(os, "getuid") else 0
os.environ.setdefault("SSLCOURSE_CACHE", os.path.join(tempfile.gettempdir(), f"sslcourse-tests-{_user}"))
os.environ.setdefault("SSLCOURSE_DEVICE", "cpu")
os.environ.setdefault("SSLCOURSE_DISPLAY", "silent")
os.environ.setdefault("GOMP_SPINCOUNT", "100")  # see sslcourse/__init__.py

# Tests send signals to themselves and to programs that they start. Where this one was started in the
# background or by nohup, some are ignored, and what is ignored is handed on to every program.
for _name, _usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

from jaxtyping import install_import_hook  # noqa: E402

_checked = ["sslcourse.methods", "sslcourse.encoders"]
_checked += [f"sslcourse.evaluate.{name}" for name in ("probes", "reports", "factors", "maps", "health")]
_hook = install_import_hook(_checked, "beartype.beartype")

import torch  # noqa: E402

from sslcourse import runtime  # noqa: E402

PLAIN = runtime.Profile("cpu", 1, False, "float32")


@pytest.fixture(autouse=True)
def plain_profile():
    """One thread, float32: the same digits everywhere."""
    runtime.use_profile(PLAIN)
    torch.manual_seed(0)
    yield
    runtime.use_profile(PLAIN)


@pytest.fixture(scope="session")
def toys():
    """A small toybox: enough to train a few steps on."""
    from sslcourse.data import toybox

    return toybox.images(512, 128, 128)
