"""White space in the relaxed form of headers and bodies (RFC 6376 sections 3.4.2 and 3.4.4)."""


def single_blanks(data: bytes) -> bytes:
    """The octets with a space in place of each run of spaces and tabs."""
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")  # at most half of each run is left
    return data
