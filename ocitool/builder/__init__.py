"""Dockerfile text -> stages -> plan -> layers -> image."""
