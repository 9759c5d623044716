"""Host-side bookkeeping of a run: timing, speed, logs, progress display, signals."""
