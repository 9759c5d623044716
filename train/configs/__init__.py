"""Default configurations of runs, as functions that return a `ConfigDict`."""
