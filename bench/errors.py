"""What can go wrong in a run, apart from mistakes on the command line."""


class BenchError(Exception):
    """A workload or a server failed; the text is one line for whoever runs the benchmark."""
