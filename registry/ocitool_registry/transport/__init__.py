"""HTTP to a registry: requests and responses as values, sent, retried and redirected."""
