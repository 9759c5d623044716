"""Downstream tasks: their files, templates, targets and scores."""
