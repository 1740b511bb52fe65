"""Faults on demand, at the joint between a session and its connection.

A :class:`~mailserver.faults.session.ScriptedSession` stands in front of a session of SMTP or POP3. It gives
the session one command at a time, and changes what the session does and says by rules. The sessions
themselves have no branch for faults. There is no socket, clock or thread here.
"""
