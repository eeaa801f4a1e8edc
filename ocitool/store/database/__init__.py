"""The database of a store, and its records: of layers, blobs, images and the build cache."""
