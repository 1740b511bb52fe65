"""From a recipient to the mailboxes its mail goes to."""
