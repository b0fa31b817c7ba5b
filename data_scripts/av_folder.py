"""The same as `sslcourse data av_folder`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "av_folder", *sys.argv[1:]]))
