"""The same as `sslcourse data mnist`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "mnist", *sys.argv[1:]]))
