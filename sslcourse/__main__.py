"""python -m sslcourse: the same as the command sslcourse."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        from sslcourse.commands.parser import main

        sys.exit(main())
    except KeyboardInterrupt:  # before the command has begun
        sys.exit(130)
