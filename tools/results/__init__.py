"""Results as pandas frames: of folders of runs, of CSV files, and published ones."""
