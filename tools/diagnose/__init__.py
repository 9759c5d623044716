"""What went wrong in a run, from its telemetry.

`telemetry` reads a run directory, the modules of checks look at a part of it each, and
`thresholds` has all limits with their reasons. `diagnosis` runs all checks, and `main`
is the command.
"""
