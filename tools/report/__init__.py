"""Reports: one table and one page from the records that runs left behind."""
