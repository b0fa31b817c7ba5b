"""The same as `sslcourse data videos`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "videos", *sys.argv[1:]]))
