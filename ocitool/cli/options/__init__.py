"""What options are made of: docker's syntax, values, and options that several commands share."""
