"""Routing: finds the final mailboxes of a recipient."""
