"""Laws of a frame of runs: the papers' slopes and fits, frontiers, held-out errors.

Each is a pure function of a frame, see `results/frame.py`, that returns frozen
dataclasses; `tables` makes CSV of them.
"""
