"""The same as `sslcourse data esc50`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "esc50", *sys.argv[1:]]))
