"""The content-addressed store: blobs, names, unpacked layers, leases and the database."""
