"""What the measurements share: traffic, relays, CPU accounting, the search for a rate."""
