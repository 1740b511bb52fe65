"""Hostile input, attack by attack: what it tries, and that nothing comes of it, however it arrives."""
