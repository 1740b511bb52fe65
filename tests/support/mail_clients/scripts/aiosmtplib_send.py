"""aiosmtplib_send.py SETTINGS: sends a message with aiosmtplib.send; prints what went wrong."""

import asyncio
import json
import ssl
import sys
from pathlib import Path

import aiosmtplib

settings = json.loads(sys.argv[1])
octets = Path(settings["file"]).read_bytes()
try:
    refused, _ = asyncio.run(
        aiosmtplib.send(
            octets,
            sender=settings["sender"],
            recipients=settings["recipients"],
            hostname=settings["host"],
            port=settings["port"],
            timeout=settings["timeout"],
            local_hostname="client.example",
            start_tls=bool(settings["tls"]),
            tls_context=ssl.create_default_context(cafile=settings["ca"]) if settings["tls"] else None,
            username=settings["address"] if settings["login"] else None,
            password=settings["password"] if settings["login"] else None,
        )
    )
except (aiosmtplib.SMTPException, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
if refused:
    sys.exit(f"refused: {refused}")
