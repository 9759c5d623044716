"""The tables that readers see: what is shown in each cell, and what it sorts by."""
