"""``python -m flows.cli``: the command, where it is not on PATH."""

import sys

from flows.cli.main import main

sys.exit(main())
