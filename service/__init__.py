"""What the node's daemon and the brain's have in common: configuration files, log, HTTP."""
