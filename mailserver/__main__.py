"""``python -m mailserver``: the ``mailserver`` command."""

from mailserver.admin.main import main

main()
