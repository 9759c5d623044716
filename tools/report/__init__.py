"""Reports: a table, figures and an HTML page from the records of runs."""

import contextlib
import importlib.util
import os
import pathlib

# Matplotlib's import fails if the user's MPLBACKEND doesn't exist or if the first
# matplotlibrc that it finds cannot be read. In its own data folder it finds its own.
os.environ["MPLBACKEND"] = "agg"
_found = importlib.util.find_spec("matplotlib")
if _found is not None and _found.origin is not None:
    with contextlib.chdir(pathlib.Path(_found.origin).parent / "mpl-data"):
        importlib.import_module("matplotlib")
