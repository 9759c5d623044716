"""The command `clinometer compare`."""
