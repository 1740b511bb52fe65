# Completion of the command mailserver for fish. The command itself prints it.
_MAILSERVER_COMPLETE=fish_source mailserver | source
