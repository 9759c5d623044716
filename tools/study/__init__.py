"""Studies: a declared list of runs, carried out, continued and reported."""
