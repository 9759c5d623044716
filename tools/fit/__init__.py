"""Fits slopes, power laws and Pareto frontiers to points of (cost, quality)."""
