"""What `play` raises: one line that a user can act on."""


class PlayError(Exception):
    """Playing cannot start: no such node or stream, a file that cannot be written."""
