"""What a program needs of a TPU that is not here, by its compiler."""
