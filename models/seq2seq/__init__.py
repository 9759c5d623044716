"""The encoder-decoder: its pure functions, its network and its loss."""
