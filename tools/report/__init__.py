"""Reports: tables, figures and an HTML page from the records of runs."""
