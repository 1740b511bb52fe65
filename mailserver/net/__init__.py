"""The network: listeners, connections, TLS, limits, graceful shutdown."""
