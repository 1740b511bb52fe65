"""The ways to deliver a message that waits in the spool; each is an ``IDelivery``.

``local`` puts it into mailboxes of this server.
"""
