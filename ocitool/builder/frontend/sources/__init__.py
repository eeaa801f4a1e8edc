"""What a stage takes files from: images, other stages, build contexts, URLs, git repositories."""
