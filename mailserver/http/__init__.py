"""HTTP/1.1 for all parts of the server that speak it: metrics, the web and its API, the fixture.

``channel`` reads requests from a connection, strictly, and ``listening`` is the factory of a listener. An
:class:`~mailserver.http.exchange.HTTPApplication` answers the requests. ``routes`` and ``fields`` are for an
application that has a table of requests.
"""
