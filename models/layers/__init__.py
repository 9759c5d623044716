"""The building blocks of architectures: Haiku modules, sublayers and stacks."""
