"""What `publish` raises: one line that a user can act on."""


class PublishError(Exception):
    """Publishing cannot start or go on: no such file, no codec, no such host."""
