"""Build checks: what a Dockerfile may say, and better would not, found without executing it."""
