"""Images as commands list them: rows, documents, filters."""
