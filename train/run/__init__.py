"""A run directory: its record, metrics, lease and checkpoints."""
