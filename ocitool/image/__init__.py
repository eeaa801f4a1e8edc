"""Images as values, and moving them between stores, registries and archives."""
