"""Reports: one table and one page from the records that runs left behind."""

import os

# Before matplotlib's import, which raises where the user's names one that is not there.
os.environ["MPLBACKEND"] = "agg"
