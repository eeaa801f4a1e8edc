"""A check of a store: what it looks at, and the problems that it finds."""
