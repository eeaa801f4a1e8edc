"""What becomes of a build's result: files, archives, names, registries, engines."""
