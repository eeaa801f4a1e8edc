"""What a build may use and nobody may find in its image: secrets and SSH agents."""
