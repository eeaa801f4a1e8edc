"""Physical lines to logical ones, and where each came from."""
