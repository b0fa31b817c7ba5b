"""The same as `sslcourse data stl10`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "stl10", *sys.argv[1:]]))
