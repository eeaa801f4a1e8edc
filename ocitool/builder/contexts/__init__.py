"""What a build takes its files from: contexts of all kinds, each brought into a directory."""
