"""Encoder-decoder models: network, pure functions, batch layout and loss."""
