"""Reads and writes a run directory: record, metrics, lease and checkpoints."""
