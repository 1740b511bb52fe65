"""smtplib_send.py SETTINGS: sends a message as the documentation of smtplib does; prints what went wrong."""

import json
import smtplib
import ssl
import sys
from pathlib import Path

settings = json.loads(sys.argv[1])
octets = Path(settings["file"]).read_bytes()
try:
    with smtplib.SMTP(settings["host"], settings["port"], "client.example", settings["timeout"]) as client:
        if settings["tls"]:
            client.starttls(context=ssl.create_default_context(cafile=settings["ca"]))
        if settings["login"]:
            client.login(settings["address"], settings["password"])
        refused = client.sendmail(settings["sender"], settings["recipients"], octets)
except (smtplib.SMTPException, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
if refused:
    sys.exit(f"refused: {refused}")
