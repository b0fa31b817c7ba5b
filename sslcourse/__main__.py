"""python -m sslcourse: the same as the command sslcourse."""

import os
import sys


def main() -> int:
    """The command; also for the scripts that earlier installations wrote."""
    from sslcourse.commands.parser import main as command

    return command()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the command has begun
        sys.exit(130)
