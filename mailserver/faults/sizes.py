"""Wrong sizes in the replies to STAT, LIST and RETR (RFC 1939 section 5)."""


def add_to_sizes(reply: bytes, octets: int) -> bytes:
    """The reply with ``octets`` added to its sizes. The text of a message is kept.

    The size is the last number of the first line, and the second number of each line of a list.
    """
    if not reply.startswith(b"+OK"):
        return reply
    head, end, body = reply.partition(b"\r\n")
    entries = body.split(b"\r\n")[:-2]
    if not (entries and all(_is_entry(line) for line in entries)):
        return _add(head, octets) + end + body
    if _numbers(head) > 1:  # with a total
        head = _add(head, octets)
    return b"\r\n".join([head, *(_add(line, octets) for line in entries), b".", b""])


def _is_entry(line: bytes) -> bool:
    words = line.split()
    return len(words) == 2 and all(word.isdigit() for word in words)


def _places(words: list[bytes]) -> list[int]:
    return [place for place, word in enumerate(words) if word.strip(b"()").isdigit()]


def _numbers(line: bytes) -> int:
    return len(_places(line.split(b" ")))


def _add(line: bytes, octets: int) -> bytes:
    """Add to the last number of a line. A line without a number does not change."""
    words = line.split(b" ")
    places = _places(words)
    if not places:
        return line
    word = words[places[-1]]
    digits = word.strip(b"()")
    words[places[-1]] = word.replace(digits, b"%d" % max(0, int(digits) + octets))
    return b" ".join(words)
