"""What commands print and write: tables, documents, files, sizes and times, escaped text."""
