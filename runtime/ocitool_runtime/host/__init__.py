"""The host's side of a sandbox: it makes the plan, starts the shim and waits for the end."""
