"""python -m sslcourse: the same as the command sslcourse."""

import os
import sys

from sslcourse.commands.parser import main

if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
