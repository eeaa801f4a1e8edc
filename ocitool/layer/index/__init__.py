"""Indexes of layers, and the tree that several layers make, from their indexes alone."""
