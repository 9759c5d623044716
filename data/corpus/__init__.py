"""Documents of text, from files, archives and the embedded corpus."""
