"""Several processes that train one run: start, agreement, lost and stuck processes."""
