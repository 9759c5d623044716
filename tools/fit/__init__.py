"""Fits: slopes, power laws and frontiers through points of (cost, quality)."""
