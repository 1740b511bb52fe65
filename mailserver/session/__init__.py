"""What all line-based sessions share, without sockets, clocks or files."""
