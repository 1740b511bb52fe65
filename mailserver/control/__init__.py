"""The control socket of a running server: its protocol, the server and the client."""
