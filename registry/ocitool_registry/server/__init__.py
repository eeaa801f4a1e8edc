"""The registry server: a WSGI application over a `Backend`, and the sockets it is served from."""
