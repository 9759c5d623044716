"""`clinometer count`: parameters, multiply-adds and FLOPs of a model."""
