"""``python -m mailserver``: the ``mailserver`` command."""

from mailserver.cli.main import main

main()
