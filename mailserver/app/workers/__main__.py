"""Runs a worker: ``python -m mailserver.app.workers``."""

import sys

from mailserver.app.workers.program import main

raise SystemExit(main(sys.argv[1:]))
