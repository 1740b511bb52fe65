from twisted.application.service import ServiceMaker

from mailserver.app.early import prepare


class _Maker(ServiceMaker):
    @property
    def options(self):
        # Asked for first, and only if the command is "mailserver"; what follows is imported for a while.
        prepare()
        return super().options


mailserver = _Maker(
    "mailserver",
    "mailserver.tap",
    "A mail server: SMTP and POP3 from one shared mailbox store.",
    "mailserver",
)
