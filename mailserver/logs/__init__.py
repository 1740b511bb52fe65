"""The log: formats events as lines and writes them."""
