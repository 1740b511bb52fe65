"""Makes the records that a domain should have, in the order in which a new domain needs them."""

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from ipaddress import ip_address

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailserver.commands.zone import hosts, texts
from mailserver.commands.zone.published import RecordState, WantedRecord
from mailserver.commands.zone.setup import DomainSetup
from mailserver.commands.zone.zone_file import text_data
from mailserver.delivery.tls_policy.sts_policy import USUAL_AGE, STSPolicy
from mailserver.mail.address import Address
from mailserver.policy.dkim.keys import key_record, kind_of
from mailserver.policy.dkim.signature import key_name
from mailserver.policy.dmarc.tree import walked
from mailserver.policy.spf.values import SPFRequest

_ID_LENGTH = 20  # characters; RFC 8461 section 3.1 allows 32


@attrs.frozen
class WebFile:
    """A file that a web server must have."""

    url: str
    content: str


def sts_policy_file(setup: DomainSetup) -> WebFile:
    """The policy of MTA-STS to begin with (RFC 8461 section 3.2)."""
    policy = STSPolicy("testing", (setup.hostname,), USUAL_AGE)
    return WebFile(f"https://mta-sts.{setup.domain}/.well-known/mta-sts.txt", policy.text)


def wanted_records(setup: DomainSetup, now: float) -> tuple[WantedRecord, ...]:
    """All records. ``now`` is in seconds since the epoch: the certificate must be valid then."""
    records = (
        _mx(setup),
        *_addresses(setup),
        *_pointers(setup),
        *_spf(setup),
        *_dkim(setup),
        _dmarc(setup),
        _tls_reports(setup),
        *_services(setup),
        *_sts(setup),
        *_tlsa(setup, now),
        _autoconfig(setup),
    )
    return tuple(_placed(record, setup.domain) for record in records)


def _placed(record: WantedRecord, domain: str) -> WantedRecord:
    """The record, marked if the zone of the domain cannot have it."""
    if record.elsewhere or f".{record.name}".endswith(f".{domain}"):
        return record
    purpose = f"{record.purpose} It is in another zone than that of {domain}."
    return attrs.evolve(record, elsewhere=True, purpose=purpose)


def _mx(setup: DomainSetup) -> WantedRecord:
    return WantedRecord(
        name=setup.domain,
        kind="MX",
        data=f"10 {setup.hostname}.",
        purpose="MX: the server that receives the mail of the domain.",
        compare=partial(hosts.compare_mx, setup.hostname, setup.domain),
        questions=((setup.domain, "MX"),),
    )


def _addresses(setup: DomainSetup) -> Iterator[WantedRecord]:
    purpose = "The address of the server. It must be the one that the server sends from, too."
    for address in setup.addresses:
        kind = hosts.address_kind(address)
        yield WantedRecord(
            name=setup.hostname,
            kind=kind,
            data=address,
            purpose=purpose,
            compare=partial(hosts.compare_address, setup.hostname, address, setup.addresses),
            questions=((setup.hostname, kind),),
        )
    if setup.addresses:
        return
    purpose += " This machine has no public address of its own: name those of the server by --address."
    for found in setup.found or ("ADDRESS",):
        yield WantedRecord(
            name=setup.hostname,
            kind=hosts.address_kind(found),
            data=found,
            purpose=purpose,
            compare=partial(hosts.compare_any_address, setup.hostname),
            questions=((setup.hostname, "A"), (setup.hostname, "AAAA")),
            elsewhere=not setup.found,
        )


def _pointers(setup: DomainSetup) -> Iterator[WantedRecord]:
    for address in setup.senders:
        name = ip_address(address).reverse_pointer
        yield WantedRecord(
            name=name,
            kind="PTR",
            data=f"{setup.hostname}.",
            purpose="PTR: the name of the address. The provider of the address sets it, in a control panel.",
            compare=partial(hosts.compare_ptr, setup.hostname, name),
            questions=((name, "PTR"),),
            elsewhere=True,
        )


def _spf(setup: DomainSetup) -> Iterator[WantedRecord]:
    purpose = "SPF: only the server in MX sends mail of the domain."
    if setup.smarthost:
        purpose = "SPF: add what the provider of your smarthost names, such as include:_spf.provider.example."
    sender = Address("postmaster", setup.domain)
    addresses = () if setup.smarthost else setup.senders
    mail = [SPFRequest(ip=one, helo=setup.hostname, reverse_path=sender) for one in addresses]
    yield _spf_record(setup.domain, "v=spf1 mx ~all", purpose, tuple(mail))
    if setup.hostname != setup.domain and not setup.smarthost:
        # A null reverse-path is checked by the name in EHLO (RFC 7208 section 2.4).
        bounces = [SPFRequest(ip=one, helo=setup.hostname, reverse_path=None) for one in addresses]
        purpose = "SPF of the server itself, for its bounces, which have no sender."
        yield _spf_record(setup.hostname, "v=spf1 a -all", purpose, tuple(bounces))


def _spf_record(name: str, text: str, purpose: str, requests: tuple[SPFRequest, ...]) -> WantedRecord:
    return WantedRecord(
        name=name,
        kind="TXT",
        data=text_data(text),
        purpose=purpose,
        compare=partial(texts.compare_spf, name, requests),
        questions=((name, "TXT"),),
        spf=requests,
    )


def _dkim(setup: DomainSetup) -> Iterator[WantedRecord]:
    for selector, domain, key in setup.keys:
        name = key_name(selector, domain)
        yield WantedRecord(
            name=name,
            kind="TXT",
            data=text_data(key_record(key)),
            purpose=f"DKIM: the public key for the {kind_of(key)} signatures of your mail.",
            compare=partial(texts.compare_dkim, name, key),
            questions=((name, "TXT"),),
        )
    if not setup.keys:
        effect = f"The configuration has no key: mail is not signed. Run: mailserver dkim make {setup.domain}"
        yield WantedRecord(
            name=key_name("SELECTOR", setup.domain),
            kind="TXT",
            data='"v=DKIM1; ..."',
            purpose=f"DKIM: there is no key yet. Make one: mailserver dkim make {setup.domain}",
            compare=lambda published: RecordState("missing", effect),
            questions=(),
            elsewhere=True,
        )


def _dmarc(setup: DomainSetup) -> WantedRecord:
    return WantedRecord(
        name=texts.dmarc_name(setup.domain),
        kind="TXT",
        data=text_data(f"v=DMARC1; p=none; rua=mailto:{setup.postmaster}"),
        purpose="DMARC: what receivers do with mail that passes neither SPF nor DKIM. Begin with none, "
        "read the reports, then go on to quarantine and to reject.",
        compare=partial(texts.compare_dmarc, setup.domain),
        questions=tuple((texts.dmarc_name(one), "TXT") for one in walked(setup.domain)),
    )


def _tls_reports(setup: DomainSetup) -> WantedRecord:
    name = f"_smtp._tls.{setup.domain}"
    return WantedRecord(
        name=name,
        kind="TXT",
        data=text_data(f"v=TLSRPTv1; rua=mailto:{setup.postmaster}"),
        purpose="TLS-RPT: other servers report failures of TLS with this one.",
        compare=partial(texts.compare_tls_reports, name),
        questions=((name, "TXT"),),
    )


def _services(setup: DomainSetup) -> Iterator[WantedRecord]:
    for service in setup.services:
        name = f"{service.name}.{setup.domain}"
        yield WantedRecord(
            name=name,
            kind="SRV",
            data=f"0 1 {service.port} {setup.hostname}.",
            purpose="SRV: where mail programs find the server.",
            compare=partial(hosts.compare_srv, setup.hostname, name, service.port),
            questions=((name, "SRV"),),
        )


def _sts(setup: DomainSetup) -> Iterator[WantedRecord]:
    name, host = f"_mta-sts.{setup.domain}", f"mta-sts.{setup.domain}"
    content = sts_policy_file(setup).content.encode()
    record = WantedRecord(
        name=name,
        kind="TXT",
        data=text_data(f"v=STSv1; id={sha256(content).hexdigest()[:_ID_LENGTH]}"),
        purpose="MTA-STS (optional): senders use TLS. It needs a web server with a certificate and the file "
        "below: this server with web.mta_sts, or another one, whose host you name. A changed file needs a "
        "new id.",
        compare=partial(texts.compare_sts, name, host),
        questions=((name, "TXT"), (host, "A"), (host, "AAAA")),
        optional=True,
    )
    yield record
    yield _web_host(setup, host, record.purpose, "Senders find no policy.")


def _tlsa(setup: DomainSetup, now: float) -> Iterator[WantedRecord]:
    if not setup.chain:
        return
    name = f"_25._tcp.{setup.hostname}"
    key = x509.load_der_x509_certificate(setup.chain[0]).public_key()
    digest = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    names = (setup.hostname, setup.domain)
    yield WantedRecord(
        name=name,
        kind="TLSA",
        data=f"3 1 1 {digest}",
        purpose="DANE (optional): the key of the certificate. It has an effect only in a zone with "
        "DNSSEC. Renew the certificate with the same key, or publish the new key two days before its use.",
        compare=partial(hosts.compare_tlsa, setup.chain, names, name, now),
        questions=((name, "TLSA"),),
        optional=True,
    )


def _autoconfig(setup: DomainSetup) -> WantedRecord:
    name = f"autoconfig.{setup.domain}"
    purpose = (
        f"Autoconfig (optional): a web server with http://{name}/mail/config-v1.1.xml, for Thunderbird. "
        "This server has it with a web listener. Name the host that serves it."
    )
    return _web_host(setup, name, purpose, "Thunderbird looks for the settings elsewhere.")


def _web_host(setup: DomainSetup, name: str, purpose: str, effect: str) -> WantedRecord:
    return WantedRecord(
        name=name,
        kind="CNAME",
        data=f"{setup.hostname}.",
        purpose=purpose,
        compare=partial(hosts.compare_web_host, setup.hostname, name, effect),
        questions=((name, "A"), (name, "AAAA")),
        optional=True,
    )
