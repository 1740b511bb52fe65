"""Security scanners, sslscan and nmap, on one port: what they report, as values.

A port is named by the service that it stands for, since nmap's scripts go by the names of well-known
ports, and ours are any free ones.
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import attrs

from tests.support.e2e.programs import need, run

# The names that nmap's scripts know, by protocol and kind of TLS.
SERVICES = {
    ("smtp", "starttls"): "smtp",
    ("submission", "starttls"): "smtp",
    ("submission", "implicit"): "smtps",
    ("pop3", "starttls"): "pop3",
    ("pop3", "implicit"): "pop3s",
}
STARTTLS = {"smtp": "--starttls-smtp", "pop3": "--starttls-pop3"}


@attrs.frozen
class Seen:
    """TLS as a scanner sees it: the ciphers of each version that is served, and what else is amiss."""

    ciphers: dict[str, list[str]]
    amiss: list[str]


def sslscan(home: Path, address: tuple[str, int], service: str, name: str) -> Seen:
    """Run sslscan, which asks for the certificate of ``name``. Amiss are renegotiation and bad ciphers."""
    host, port = address
    options = [STARTTLS[service]] if service in STARTTLS else []
    done = run(home, need("sslscan"), "--xml=-", f"--sni-name={name}", *options, f"{host}:{port}")
    found = ET.fromstring(done.stdout).find("ssltest")
    assert found is not None, done.stdout
    served = [one for one in found.iter("protocol") if one.get("enabled") == "1"]
    ciphers: dict[str, list[str]] = {
        f"{(one.get('type') or '').upper()}v{one.get('version')}": [] for one in served
    }
    amiss = []
    for cipher in found.iter("cipher"):
        ciphers[cipher.get("sslversion") or ""].append(cipher.get("cipher") or "")
        if cipher.get("strength") not in ("strong", "acceptable"):
            amiss.append(f"{cipher.get('cipher')} is {cipher.get('strength')}")
    for what, attribute in (("renegotiation", "supported"), ("compression", "supported")):
        amiss += [what for one in found.iter(what) if one.get(attribute) == "1"]
    amiss += ["heartbleed" for one in found.iter("heartbleed") if one.get("vulnerable") == "1"]
    return Seen(ciphers, amiss)


def nmap_tls(home: Path, address: tuple[str, int], service: str, name: str) -> Seen:
    """Run nmap's ssl-enum-ciphers. Amiss are grades under A, and its warnings."""
    script = nmap(home, address, service, {"ssl-enum-ciphers": f"tls.servername={name}"})["ssl-enum-ciphers"]
    ciphers: dict[str, list[str]] = {}
    amiss = []
    for version in script.findall("table"):
        served = ciphers[version.get("key") or ""] = []
        for cipher in version.findall("table[@key='ciphers']/table"):
            cipher_name, grade = (
                cipher.findtext(f"elem[@key='{key}']") or "" for key in ("name", "strength")
            )
            served.append(cipher_name)
            if grade != "A":
                amiss.append(f"{cipher_name} is {grade}")
        amiss += [warning.text or "" for warning in version.findall("table[@key='warnings']/elem")]
        if version.findtext("elem[@key='cipher preference']") != "server":
            amiss.append("the client chooses the cipher")
    return Seen(ciphers, amiss)


def nmap(
    home: Path, address: tuple[str, int], service: str, scripts: dict[str, str]
) -> dict[str, ET.Element]:
    """Run nmap's ``scripts``, each with its arguments; what each of them says."""
    host, port = address
    names = home / "nmap-data"
    names.mkdir(exist_ok=True)
    (names / "nmap-services").write_text(f"{service}\t{port}/tcp\t0.9\n")
    given = ",".join(filter(None, scripts.values()))
    # -sT: connects like any other client, and needs no privileges
    command = [need("nmap"), "-sT", "-Pn", "-n", "--datadir", str(names), "-oX", "-", "-p", str(port)]
    done = run(home, *command, "--script", ",".join(scripts), "--script-args", given, host)
    found = {one.get("id") or "": one for one in ET.fromstring(done.stdout).iter("script")}
    assert found.keys() == scripts.keys(), done.stdout
    return found


def output(script: ET.Element) -> str:
    """What a script prints."""
    return script.get("output") or ""
