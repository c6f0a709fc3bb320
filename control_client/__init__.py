"""A node's side of the control channel, and what both sides share: messages, tables, sessions."""
