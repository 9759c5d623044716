"""What every command line shares: numbers, output paths and standard streams."""
