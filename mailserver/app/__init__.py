"""The composition root: builds the server from its configuration, and starts, reloads and stops it."""
