"""What is decided over time and not per packet: who is subscribed to what, and along which path."""
