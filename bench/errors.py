"""The errors of a run, except wrong usage."""


class BenchError(Exception):
    """A workload or a server failed; the text is one line for the user."""
