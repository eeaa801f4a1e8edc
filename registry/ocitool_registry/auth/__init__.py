"""Authentication to registries: challenges, tokens, and where credentials come from."""
