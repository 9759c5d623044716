"""The command `clinometer overlap`."""
