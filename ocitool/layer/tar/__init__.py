"""Tar streams: members read and written, with PAX records and sparse files."""
