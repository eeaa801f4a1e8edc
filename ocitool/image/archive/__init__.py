"""Images in one file: OCI and docker archives, and OCI image layouts."""
