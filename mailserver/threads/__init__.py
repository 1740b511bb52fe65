"""Work that would block the reactor, or compute for long, and so runs in a thread."""
