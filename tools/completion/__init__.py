"""Implements `clinometer completion`: completion of the command in shells."""
