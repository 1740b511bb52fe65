"""SPF, the Sender Policy Framework (RFC 7208): may this client send mail from this domain?

``evaluator`` is sans-IO: it yields each DNS question as a value and receives the reply. ``lookups`` runs it
over a resolver. ``record`` reads SPF records, ``macros`` the macro strings in them.
"""
