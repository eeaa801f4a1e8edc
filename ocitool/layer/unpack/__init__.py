"""Unpacking a layer onto a directory tree."""
