"""The certificates: whether TLS can use them, their names, dates and chains."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreContext, X509StoreContextError

from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.tls import tls_sources
from mailserver.net.certificates import CLIENT_CA, first_warning
from mailserver.net.pairs import Pair, PairFiles, Unusable, read_authorities, read_pair

_RENEW = "renew it: certbot renew, or whatever has made it; the server reads the new file by itself"


def check_certificates(it: Installation) -> Iterator[Examined]:
    """All pairs, and the authorities of client certificates."""
    sources, tls = tls_sources(it.config), it.config.tls
    if sources is None or tls is None or (tls.generate and not sources.pairs[0].certificate.exists()):
        return
    for number, files in enumerate(sources.pairs):
        if any(map(it.is_passed, files.paths)):
            yield NotChecked(files.key, "systemd passes its files to the server when it starts")
            continue
        try:
            pair = read_pair(files)
        except Unusable as error:
            for key, text in error.problems:
                yield DoctorFinding("certificate-unusable", key, text, f"correct the file, or {key}")
            continue
        yield from _dates(it, files, pair)
        if number == 0:
            yield from _names(it, files, pair)
        if not (tls.generate and number == 0):
            yield from _trust(it, files, pair)
    if sources.client_ca is not None:
        try:
            read_authorities(CLIENT_CA, sources.client_ca)
        except Unusable as error:
            for key, text in error.problems:
                yield DoctorFinding("certificate-unusable", key, text, f"correct the file, or {key}")


def _dates(it: Installation, files: PairFiles, pair: Pair) -> Iterator[DoctorFinding]:
    key = f"{files.key}.certificate"
    if (problem := pair.date_problem(it.now)) is not None:
        yield DoctorFinding("certificate-invalid-now", key, problem, _RENEW)
        return
    if (problem := pair.date_problem(it.now, first_warning(pair))) is not None:
        yield DoctorFinding("certificate-expires", key, problem, _RENEW)


def _names(it: Installation, files: PairFiles, pair: Pair) -> Iterator[DoctorFinding]:
    hostname = it.config.hostname
    if not {hostname, f"*.{hostname.partition('.')[2]}"} & set(pair.names) and not hostname.startswith("["):
        text = f"the certificate is for {', '.join(pair.names) or 'no name'}, not for {hostname} (hostname)"
        mend = f"get a certificate for {hostname}"
        yield DoctorFinding("certificate-name", f"{files.key}.certificate", text, mend)


def _trust(it: Installation, files: PairFiles, pair: Pair) -> Iterator[DoctorFinding]:
    key = f"{files.key}.certificate"
    if pair.certificate.issuer == pair.certificate.subject:
        text = "the certificate has signed itself: mail programs and strict senders do not trust it"
        mend = "get a certificate of a public authority, such as Let's Encrypt"
        yield DoctorFinding("certificate-self-signed", key, text, mend)
        return
    above = (pair.certificate, *pair.chain)
    for below, issuer in zip(above, pair.chain, strict=False):
        if below.issuer != issuer.subject:
            text = f"the chain is out of order: {_name(issuer.subject)} is not the issuer of the one before"
            mend = "put the server's certificate first, then each issuer: the file fullchain.pem"
            yield DoctorFinding("certificate-chain", key, text, mend)
            return
    if (problem := _untrusted(pair.certificate, pair.chain, it.now)) is not None:
        text = (
            f"its chain does not lead to an authority that this system trusts ({problem}): the certificate "
            f"of {_name(above[-1].issuer)} is missing in the file, or the authority is private"
        )
        mend = f"use the whole chain ({files.key}.certificate = fullchain.pem)"
        yield DoctorFinding("certificate-chain", key, text, mend)


def _name(name: x509.Name) -> str:
    return name.rfc4514_string()


def _untrusted(certificate: x509.Certificate, chain: Sequence[x509.Certificate], now: float) -> str | None:
    """Why the authorities of the system do not vouch for a certificate; None if they do. Its dates do not
    matter."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_default_verify_paths()
    store = context.get_cert_store()
    assert store is not None
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    store.set_time(min(max(datetime.fromtimestamp(now, UTC), first), last))
    try:
        X509StoreContext(
            store, X509.from_cryptography(certificate), [X509.from_cryptography(one) for one in chain]
        ).verify_certificate()
    except X509StoreContextError as error:
        return str(error)
    return None
