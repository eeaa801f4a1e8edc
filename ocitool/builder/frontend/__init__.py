"""From the instructions of a Dockerfile to what has to be done: stages, variables, steps."""
