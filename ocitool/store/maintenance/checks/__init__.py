"""What a check of a store looks at: blobs, rows of the database, unpacked layers."""
