"""Compares the times of `clinometer plan` with published speeds."""
