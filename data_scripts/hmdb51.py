"""The same as `sslcourse data hmdb51`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "hmdb51", *sys.argv[1:]]))
