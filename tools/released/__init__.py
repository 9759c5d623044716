"""Released checkpoints of others in, and our models out as files that others load."""
