"""What can be asked of a Dockerfile without a build: its checks, its outline, its targets."""
