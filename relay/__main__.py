"""Runs one node: python -m relay --config FILE."""

# ruff: noqa: E402
import signal

# Until the node has its own handlers, an interrupt ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys

from relay.daemon import run
from service.command_line import run_daemon

if __name__ == "__main__":
    sys.exit(run_daemon("python -m relay", "Run an overlay node.", run))
