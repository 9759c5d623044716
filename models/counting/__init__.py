"""Parameters and multiply-adds, by formula and by trace."""
