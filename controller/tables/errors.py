"""What this package raises."""

from controller.errors import ControllerError


class TablesError(ControllerError):
    """Base of all errors here."""


class CompileError(TablesError):
    """What is wanted contradicts itself; no table was made."""


class TermError(TablesError):
    """The brain's term cannot be read or stored, so it must not start."""
