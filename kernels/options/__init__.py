"""What command lines and configurations share: ranges of numbers, output paths."""
