"""Runs the brain: python -m controller --config FILE."""

# ruff: noqa: E402
import signal

# Until the brain has its own handlers, an interrupt ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys

from controller.daemon import run
from service.command_line import run_daemon

if __name__ == "__main__":
    sys.exit(run_daemon("python -m controller", "Run the brain.", run))
