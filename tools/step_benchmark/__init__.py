"""The command `clinometer bench-steps`."""
