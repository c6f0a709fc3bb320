"""Runs the brain: python -m controller --config FILE."""

# ruff: noqa: E402
import signal

# Until the brain has its own handlers, an interrupt ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import sys

from controller.daemon import run


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m controller", description="Run the brain.")
    parser.add_argument("--config", required=True, metavar="FILE", help="TOML configuration")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key, for example api.listen=127.0.0.1:0 (repeatable)",
    )
    arguments = parser.parse_args()
    overrides = {}
    for setting in arguments.set:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            parser.error(f"--set {setting}: give KEY=VALUE")
        overrides[key] = value
    return run(arguments.config, overrides)


if __name__ == "__main__":
    sys.exit(main())
