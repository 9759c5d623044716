"""Division of parameters, optimizer state and batches over the devices of a mesh."""
