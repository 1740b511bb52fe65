"""Metrics for Prometheus: counts of events, the state of the server, and the HTTP that serves them."""
