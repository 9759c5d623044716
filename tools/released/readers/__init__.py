"""Readers of the files that checkpoints are released in, one module per format."""
