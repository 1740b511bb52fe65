"""The lines of the log: how an event is written, and how the lines get out of the process."""
