"""The listeners with ``protocol = "web"``: the HTTP API at ``/api/v1``, and ``/healthz``.

``application`` decides which part answers a request, and whether the request may come in at all. ``access``
says who asks, ``routes`` has the table of the API, ``openapi`` describes it. The API is another front of the
code that serves the mail ports and the commands: it has no way of its own to change anything.

    application -> access                  who asks
                -> routes -> messages      reading mailboxes
                          -> …
"""
