"""The same as `sslcourse data ucf101`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "ucf101", *sys.argv[1:]]))
