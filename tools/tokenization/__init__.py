"""The command `clinometer tokenize`."""
