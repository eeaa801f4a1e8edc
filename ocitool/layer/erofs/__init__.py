"""EROFS images that show a layer's plain tar as a file system: only metadata is written."""
