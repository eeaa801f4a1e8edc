"""docker's ``--format``: Go templates, parsed and executed."""
