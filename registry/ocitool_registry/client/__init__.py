"""The client of a registry: endpoints, uploads, downloads, and a repository as a content source."""
