"""How much room everything in a store takes, and what of it can be removed."""
