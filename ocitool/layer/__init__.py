"""Layers: the way between tar streams and directory trees.  Knows no store."""
