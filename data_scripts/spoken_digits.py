"""The same as `sslcourse data spoken_digits`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "spoken_digits", *sys.argv[1:]]))
