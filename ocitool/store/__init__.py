"""The content-addressed store: blobs, names, unpacked layers, and what may go."""
