"""Events: one class for each thing that happens in the server.

A room reports an event with :func:`~mailserver.events.base.report`. The lines of the log, as text and as
JSON, are made from the fields of its class. An observer of ``twisted.logger`` finds the event itself under
``log_event``. So the identity of an event is its class, and not an English sentence. docs/logging.md lists
all of them.
"""
