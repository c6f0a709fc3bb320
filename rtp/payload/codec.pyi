def numbers() -> dict[str, int]:
    """The codecs of `codec.pxd` by name."""
