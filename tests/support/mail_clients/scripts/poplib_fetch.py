"""poplib_fetch.py SETTINGS: fetches and deletes all messages as the documentation of poplib does.

With "memory", a file, it remembers the unique-ids of what it has, and deletes those without fetching them
again.
"""

import json
import poplib
import ssl
import sys
import tempfile
from pathlib import Path

settings = json.loads(sys.argv[1])
memory = Path(settings.get("memory", "/dev/null"))
memory.touch()
context = ssl.create_default_context(cafile=settings["ca"]) if settings["tls"] else None
try:
    client: poplib.POP3
    if settings["tls"] == "implicit":
        client = poplib.POP3_SSL(
            settings["host"], settings["port"], timeout=settings["timeout"], context=context
        )
    else:
        client = poplib.POP3(settings["host"], settings["port"], timeout=settings["timeout"])
        if settings["tls"]:
            client.stls(context)
    client.user(settings["address"])
    client.pass_(settings["password"])
    for number in range(1, len(client.list()[1]) + 1):
        uid = client.uidl(number).split()[-1] if "memory" in settings else b""
        if uid not in memory.read_bytes().split():
            lines = client.retr(number)[1]
            with tempfile.NamedTemporaryFile(dir=settings["folder"], delete=False) as file:
                file.write(b"".join(line + b"\n" for line in lines))
        with memory.open("ab") as known:
            known.write(uid + b"\n")
        client.dele(number)
    client.quit()
except (poplib.error_proto, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
