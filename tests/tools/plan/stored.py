"""Where the stored dumps lie; `test_dumps.py` tells of what."""

import pathlib

_TESTDATA = pathlib.Path(__file__).parent / "testdata"
BUNDLES = _TESTDATA / "bundles"
SIMULATION = _TESTDATA / "simulation"
