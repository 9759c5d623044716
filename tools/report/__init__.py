"""Reports: one table and one page from the records that runs left behind."""

import contextlib
import importlib.util
import os
import pathlib

# Before matplotlib's import, which raises where the user's names one that is not there,
# or where the first matplotlibrc that it finds cannot be read. Beside its own it finds
# no other.
os.environ["MPLBACKEND"] = "agg"
_found = importlib.util.find_spec("matplotlib")
if _found is not None and _found.origin is not None:
    with contextlib.chdir(pathlib.Path(_found.origin).parent / "mpl-data"):
        importlib.import_module("matplotlib")
