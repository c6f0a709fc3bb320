"""What this package raises: our own misuse. Expected answers ("no such stream") are values."""


class ControllerError(Exception):
    """Base of all errors of the brain; its text is one line an operator can act on."""


class UnknownNodeError(ControllerError):
    """A node, by name or index, that the view does not hold."""

    def __init__(self, node: str | int) -> None:
        self.node = node
        super().__init__(f"unknown node {node!r}")


class InvalidMeasurementError(ControllerError):
    """A measurement outside its range: the text names field, value and range."""


class InvalidAnnouncementError(ControllerError):
    """A broadcast without tracks, or with two tracks of one name."""


class InvalidSettingError(ControllerError):
    """A parameter of an algorithm outside its range: the text names it and the range."""
