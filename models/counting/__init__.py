"""Counts parameters and multiply-adds, in closed form and on the traced program."""
