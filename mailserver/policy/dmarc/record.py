"""Reads DMARC policy records (RFC 9989 sections 4.7 and 4.8).

    dmarc-record  = dmarc-version *(dmarc-sep dmarc-tag) [dmarc-sep]
    dmarc-version = "v" equals %s"DMARC1"
    dmarc-tag     = 1*ALPHA equals 1*dmarc-value
    dmarc-sep     = *WSP ";" *WSP
    equals        = *WSP "=" *WSP
    dmarc-value   = %x20-3A / %x3C-7E

    p, sp, np     = "none" / "quarantine" / "reject"
    t             = "y" / "n"
    psd           = "y" / "n" / "u"
    adkim, aspf   = "r" / "s"
    rua           = URI *( *WSP "," *WSP URI )

Other tags are ignored. A malformed value is like none.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, get_args

import attrs

REMEMBERED = 256  # records
MAX_REMEMBERED = 2048  # octets of each

DMARCPolicy = Literal["none", "quarantine", "reject"]

_VERSION = re.compile(rb"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_TAG = re.compile(r"[ \t]*([A-Za-z]+)[ \t]*=[ \t]*([ -:<-~]*?)[ \t]*")
MAX_URIS = 5
_MAX_URI = 400  # characters, more than any address with a size needs
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s,!]+(?:![0-9]+[kmgtKMGT]?)?")


@attrs.frozen(kw_only=True)
class DMARCRecord:
    """What the owner of ``domain`` asks for.

    ``policy`` is for mail of the domain, ``subdomains`` for that of existing domains below it, and
    ``missing`` for that of domains below it that do not exist. ``psd`` says whether the domain is a public
    suffix ("y"), an organization ("n"), or either ("u"). ``testing``: a milder policy is to be applied.
    ``usable`` is false if the record must not be applied (section 4.10.1). ``rua`` are the URIs that get
    aggregate reports, at most ``MAX_URIS``, with their limits of size.
    """

    domain: str
    policy: DMARCPolicy = "none"
    subdomains: DMARCPolicy = "none"
    missing: DMARCPolicy = "none"
    psd: Literal["y", "n", "u"] = "u"
    strict_dkim: bool = False
    strict_spf: bool = False
    testing: bool = False
    usable: bool = True
    rua: tuple[str, ...] = ()


def read_dmarc(text: bytes, domain: str) -> DMARCRecord | None:
    """The record in a TXT record of ``_dmarc.DOMAIN``, None if it is no DMARC record."""
    return (_remembered if len(text) <= MAX_REMEMBERED else _read)(text, domain)


def _read(text: bytes, domain: str) -> DMARCRecord | None:
    version = _VERSION.match(text)
    if version is None:
        return None
    tags: dict[str, str] = {}
    for spec in text[version.end() :].decode("latin-1").split(";"):
        if tag := _TAG.fullmatch(spec):
            name = tag[1].lower()
            tags.setdefault(name, tag[2] if name == "rua" else tag[2].lower())
    psd: Literal["y", "n", "u"] = "y" if tags.get("psd") == "y" else "n" if tags.get("psd") == "n" else "u"
    record = DMARCRecord(
        domain=domain,
        psd=psd,
        strict_dkim=tags.get("adkim") == "s",
        strict_spf=tags.get("aspf") == "s",
        testing=tags.get("t") == "y",
        rua=_uris(tags["rua"]) if "rua" in tags else (),
    )
    try:
        policy = _policy(tags, "p", "none")
        subdomains = _policy(tags, "sp", policy)
        missing = _policy(tags, "np", subdomains)
    except ValueError:
        # As p=none, if the owner wants reports: then the error can be found.
        return attrs.evolve(record, usable=bool(record.rua))
    return attrs.evolve(record, policy=policy, subdomains=subdomains, missing=missing)


_remembered = lru_cache(REMEMBERED)(_read)


def _uris(value: str) -> tuple[str, ...]:
    uris = re.split(r"[ \t]*,[ \t]*", value)
    return tuple(uri for uri in uris if len(uri) <= _MAX_URI and _URI.fullmatch(uri))[:MAX_URIS]


def _policy(tags: Mapping[str, str], name: str, default: DMARCPolicy) -> DMARCPolicy:
    value = tags.get(name, default)
    for policy in get_args(DMARCPolicy):
        if value == policy:
            return policy  # type: ignore[no-any-return]
    raise ValueError(name)
