"""Quotes, and what becomes of variables."""
