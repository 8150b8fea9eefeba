"""The HTTP/1.1 data plane: server, upstream client, relay, server-sent events, limits."""
