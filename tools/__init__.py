"""What a person calls: the `clinometer` command and the tools behind it."""
