"""The control socket of a running server: what both sides agree on, the server's side, the command's side."""
