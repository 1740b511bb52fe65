# Completion of the command mailserver for bash. The command itself prints it.
eval "$(_MAILSERVER_COMPLETE=bash_source mailserver)"
