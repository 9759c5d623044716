"""Configurations of runs, as plain functions that return an ml_collections tree."""
