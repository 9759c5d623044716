"""Option parsing shared by commands and configurations: numbers and output paths."""
