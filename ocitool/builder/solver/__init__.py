"""From steps to layers: cache keys, the cache, and the execution of what it misses."""
