"""Looks at many runs at once, in their directories: `clinometer status` and `runs`."""
