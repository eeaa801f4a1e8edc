"""The ways to isolate that are built in, and the choice between them."""
