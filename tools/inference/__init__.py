"""Inference from a study's finished runs: intervals, tests, outcomes and power.

Everything starts from a list of `design.Run`. `design.from_runs` sorts it into cells of
one architecture and width, `linear_model.fit` estimates each cell's mean and the
variance of a run, and the other modules ask questions of that fit, most of them as
linear contrasts of the cells' means.
"""
