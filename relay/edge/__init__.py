"""Sessions of clients that are not nodes of the overlay."""
