"""Studies: lists of runs that are trained, resumed and reported together."""
