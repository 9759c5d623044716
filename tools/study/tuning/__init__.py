"""Learning rates: sweeps, what is concluded from them, and the table of tuned rates.

`grid` says which rates a size is tried with, `parabola` and `optimum` what follows from
their losses, and `ladder` how the sizes of one architecture are tuned together. `table`
reads and writes `rates.json`, and `lookup` finds the rate of a run. These are functions
of losses, so that an interrupted sweep continues from its finished runs.
"""
