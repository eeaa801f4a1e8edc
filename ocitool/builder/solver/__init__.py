"""The solver: a definition to layers, by cache keys, the cache, and execution of what it misses."""
