"""Turns batches into measured training runs."""
