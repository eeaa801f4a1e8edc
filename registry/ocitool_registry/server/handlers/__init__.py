"""The handlers of the server: from a `Request` and a `Backend` to a `Response`."""
