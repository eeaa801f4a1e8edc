"""The server's answers: a `Call` and a `Backend` in, a `Reply` out; no sockets."""
