"""The same as `sslcourse data davis`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "davis", *sys.argv[1:]]))
