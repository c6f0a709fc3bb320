"""Standard input, output and error that were closed when the process began.

The next socket or file opened would take such a number, and what is written to standard error would
go into it. So they are opened on /dev/null: input empty, error swallowed, and output such that
writing to it still fails, because a command whose answer nobody gets has not done its work.
"""

import os

_MODES = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)


def open_missing() -> list[int]:
    """Call before anything is opened. Returns the numbers that were closed."""
    missing = []
    for number, mode in enumerate(_MODES):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest free number: this one
            assert opened == number
            os.set_inheritable(number, True)
            missing.append(number)
    return missing
