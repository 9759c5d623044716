"""The parts that layers are made of: Haiku modules, sublayers, stacks."""
