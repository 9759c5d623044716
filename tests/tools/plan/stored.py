"""Paths of the stored dumps, which `test_dumps.py` describes."""

import pathlib

_TESTDATA = pathlib.Path(__file__).parent / "testdata"
BUNDLES = _TESTDATA / "bundles"
SIMULATION = _TESTDATA / "simulation"
