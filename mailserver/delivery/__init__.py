"""Engines that deliver messages from the spool. Each implements ``IDelivery``.

``local`` delivers to the mailboxes of this server.
"""
