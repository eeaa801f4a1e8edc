"""The vocabulary of the OCI image specification.  No I/O."""
