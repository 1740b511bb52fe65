from twisted.application.service import ServiceMaker

mailserver = ServiceMaker(
    "mailserver",
    "mailserver.tap",
    "A mail server: SMTP and POP3 from one shared mailbox store.",
    "mailserver",
)
