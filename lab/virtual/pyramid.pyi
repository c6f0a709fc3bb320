"""B frames between two anchors."""

def pyramid(b_frames: int) -> list[tuple[int, bool, int]]:
    """In the order of decoding: place in the order of display; whether others reference it; what it
    needs (bit 0: the anchor behind, bit 1 + i: entry i). Raises ValueError if there are more than 7.
    """
