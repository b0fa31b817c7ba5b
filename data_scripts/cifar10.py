"""The same as `sslcourse data cifar10`, for those who work in the repository."""

import sys

from sslcourse.commands.parser import main

sys.exit(main(["data", "cifar10", *sys.argv[1:]]))
