"""SSH agents that a build may use."""
