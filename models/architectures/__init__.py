"""One module per architecture, and the registry, sizes and grammar of model names."""
