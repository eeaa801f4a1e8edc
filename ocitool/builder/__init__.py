"""Building images: a frontend makes a definition of a Dockerfile, a solver its layers."""
