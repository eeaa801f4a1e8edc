"""User namespaces: subordinate IDs, ID maps, and whether they work here."""
