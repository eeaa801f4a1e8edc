"""The Dockerfile language: text in, frozen instructions out."""
