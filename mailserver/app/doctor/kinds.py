"""All kinds of findings: how bad each one is, what it means, and what to do. docs/doctor.md has the table."""

from collections.abc import Mapping
from typing import Literal

import attrs

Severity = Literal["error", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")


@attrs.frozen
class FindingKind:
    """A kind of findings. ``meaning`` and ``remedy`` are for the manual."""

    severity: Severity
    meaning: str
    remedy: str


def _error(meaning: str, remedy: str) -> FindingKind:
    return FindingKind("error", meaning, remedy)


def _warning(meaning: str, remedy: str) -> FindingKind:
    return FindingKind("warning", meaning, remedy)


def _notice(meaning: str, remedy: str) -> FindingKind:
    return FindingKind("notice", meaning, remedy)


_NETWORKS = "set the key to the networks of your own machines"
_RENEW = "renew the certificate; the server loads the new file by itself"
_PORT = "look into the log of the server, and at `ss -ltnp` for another program on the port"
_PUBLISH = "publish the record that `mailserver dns DOMAIN` prints"

SECTIONS: Mapping[str, Mapping[str, FindingKind]] = {
    "Configuration": {
        "configuration-invalid": _error(
            "the configuration has an error: the server does not start, and a reload is refused",
            "correct the key that is named",
        ),
        "open-relay-networks": _error(
            "`relay.networks` has a wide public network, whose clients may relay without a login", _NETWORKS
        ),
        "trusts-everybody": _error("a key that names trusted clients has a wide public network", _NETWORKS),
        "anonymous-login": _error(
            "`auth.mechanisms` has ANONYMOUS, which is for tests", "remove it from `auth.mechanisms`"
        ),
        "plaintext-passwords": _error(
            "a listener that other machines reach accepts passwords without TLS",
            "set `plaintext_auth = false`",
        ),
        "login-impossible": _warning(
            "a listener for users has no TLS, so that no other machine can log in", "add `[tls]`, and `tls`"
        ),
        "no-tls": _warning(
            "there is no certificate, so mail crosses the network in the clear", "add `[tls]`"
        ),
        "tls-generated": _warning(
            "`tls.generate` makes a certificate that no other machine trusts", "get one of a public authority"
        ),
        "hostname-unusable": _warning(
            "`hostname` is not a name that DNS can have", "set it to the full name of the machine"
        ),
        "names-disclosed": _warning(
            "everybody can look up names by VRFY and EXPN", 'set `smtp.verify = "authenticated"`'
        ),
        "guessing-unlimited": _warning(
            "nothing limits wrong passwords", "set `limits.auth_block_after` or `limits.auth_failures`"
        ),
        "connections-unlimited": _warning(
            "nothing limits the connections", "remove the key, so that its default is in force"
        ),
        "sending-unlimited": _warning(
            "a stolen password may send any amount of mail", "set `limits.recipients_per_account`"
        ),
        "metrics-exposed": _notice(
            "other machines may read the metrics", "listen on a loopback address, or use a firewall"
        ),
        "storage-in-memory": _warning(
            "all mail is lost when the server stops", 'set `storage.engine = "maildir"`'
        ),
        "no-reserve": _warning("mail may fill the disk completely", "set `storage.reserve`"),
        "quota-too-small": _warning(
            "a quota is smaller than `smtp.max_message_size`", "raise the quota, or lower the size"
        ),
        "configuration-exposed": _warning(
            "other users can read or change secrets in the configuration", "`chmod`, as printed"
        ),
        "plain-passwords-stored": _notice(
            "the configuration has passwords as they are", "replace them by hashes: `mailserver passwd`"
        ),
        "relay-without-tls": _notice(
            "mail to other servers never uses TLS", 'set `relay.tls = "opportunistic"`'
        ),
        "root-allowed": _notice("the server may run as root", "run it as a user of its own"),
        "no-alerts": _notice("alerts go nowhere", "set `alerts.mail` or `alerts.webhook`"),
        "no-trace": _notice("no events are kept for `mailserver trace`", "set `log.trace_days`"),
    },
    "Files": {
        "data-missing": _warning("the data directory does not exist", "start the server"),
        "data-exposed": _warning("other users can look into the data directory", "`chmod 700`"),
        "file-foreign": _error(
            "a file of the server belongs to another user: the server does not start", "`chown`, as printed"
        ),
        "file-writable": _error(
            "other users can change a file of the server: it does not start", "`chmod go-w`, as printed"
        ),
        "file-link": _error(
            "a file of the server is a symbolic link, which the server does not follow", "put the file there"
        ),
        "file-exposed": _warning("other users can read a file of the server", "`chmod 600`"),
        "key-exposed": _error("everybody can read a private key", "`chmod o-rwx`, and better make a new key"),
        "dkim-key-unusable": _error(
            "a key of DKIM cannot be read: the server does not start", "`mailserver dkim make DOMAIN`"
        ),
        "smarthost-password-unusable": _error(
            "the password for the smarthost cannot be read, or everybody can read it",
            "correct `relay.smarthost_password_file`, or the mode of the file",
        ),
        "leftovers": _notice("files of interrupted work are left", "restart the server"),
    },
    "Disk, clock and process": {
        "disk-read-only": _error("the file system is read-only", "look at `dmesg`, then mount it again"),
        "disk-full": _error("only `storage.reserve` is free: all mail is deferred", "make room on the disk"),
        "disk-nearly-full": _warning("little room is left above `storage.reserve`", "make room on the disk"),
        "few-inodes": _warning("few inodes are free", "remove small files"),
        "clock-wrong": _error("the clock is behind the files of the server", "set the clock"),
        "clock-unsynchronised": _notice(
            "the kernel says that nothing keeps the clock right, which the host of a virtual machine may do",
            "run an NTP client",
        ),
        "check-failed": _error("a check of the doctor itself has failed", "report the mistake"),
        "server-down": _error("no server runs", "`systemctl start mailserver`"),
        "server-silent": _error(
            "the server does not answer on its control socket", "look into its log, and restart it"
        ),
        "server-version": _warning(
            "the running server has another version than the installed one", "`systemctl restart mailserver`"
        ),
        "configuration-not-loaded": _warning(
            "the configuration has changed since the server read it", "`mailserver reload`"
        ),
        "worker-down": _error(
            "a worker of the server does not serve; the others go on", "look into the log of the server"
        ),
        "many-workers": _warning(
            "`workers` is above the number of processors, which costs memory and gains nothing",
            'set `workers = "auto"`',
        ),
        "few-descriptors": _warning(
            "the limit of open files is too low for `limits.connections`",
            "raise `LimitNOFILE` of the service, or lower `limits.connections`",
        ),
    },
    "Listeners": {
        "port-closed": _error("a listener takes no connections", _PORT),
        "port-silent": _error("a listener does not answer, or closes the connection", _PORT),
        "port-other-protocol": _error("a listener greets with another protocol", _PORT),
        "port-without-tls": _error("a listener does not offer STARTTLS", _PORT),
        "port-tls": _error("the TLS handshake with a listener fails", _PORT),
        "port-taken": _error("another program has the port of a listener", "end it: `ss -ltnp`"),
        "port-other-name": _warning("a listener greets with another name than `hostname`", _PORT),
        "port-other-certificate": _warning(
            "a listener shows another certificate than that in the files", "`mailserver reload`"
        ),
        "open-relay": _error(
            "strangers can send mail to other servers through this one",
            "correct `relay.networks`, `smtp.xclient_networks` and `listen.proxies`",
        ),
    },
    "Certificates": {
        "certificate-unusable": _error(
            "a certificate or its key cannot be used: the server does not start", "correct the file"
        ),
        "certificate-invalid-now": _error("a certificate has expired, or is not valid yet", _RENEW),
        "certificate-expires": _warning("a certificate expires soon", _RENEW),
        "certificate-name": _error("the certificate is not for `hostname`", "get one for `hostname`"),
        "certificate-self-signed": _warning(
            "the certificate has signed itself", "get one of a public authority"
        ),
        "certificate-chain": _warning(
            "the chain is incomplete or out of order, or its authority is private", "use `fullchain.pem`"
        ),
    },
    "DNS": {
        "dns-mx": _error("the MX record is missing, or leads elsewhere", _PUBLISH),
        "dns-address": _error("the hostname has no address, or another one", _PUBLISH),
        "dns-ptr": _error(
            "the address has no name, or another one (PTR)", "ask the provider of the address to set it"
        ),
        "dns-spf": _error("SPF is missing, or does not let this server send", _PUBLISH),
        "dns-dkim": _error("the key of DKIM is missing in DNS, or another one", _PUBLISH),
        "dns-dmarc": _warning("there is no valid DMARC policy", _PUBLISH),
        "dns-mta-sts": _error("the record of MTA-STS is wrong", _PUBLISH),
        "mta-sts-policy": _error(
            "senders cannot fetch the policy of MTA-STS, or it does not name this server",
            "put the file there that `mailserver dns DOMAIN` prints",
        ),
        "dns-tlsa": _error("the TLSA records do not match the certificate", _PUBLISH),
        "dns-srv": _notice("mail programs do not find the server by SRV records", _PUBLISH),
        "dns-tls-rpt": _notice("nobody reports failures of TLS", _PUBLISH),
        "resolver-silent": _warning("a DNS server does not answer", "correct `dns.servers`"),
        "no-resolver": _error("no DNS server answers", "correct `dns.servers`, or run a resolver"),
        "resolver-trusted": _warning(
            "`dns.trust_ad` trusts a DNS server on another machine", "run a resolver on this machine"
        ),
        "resolver-public": _warning(
            "blocklists refuse queries through a public DNS server", "run a resolver on this machine"
        ),
    },
    "Blocklists": {
        "dnsbl-listed": _error(
            "a list of `[[dnsbl]]` has an address of this server", "end the reason, then ask the list"
        ),
        "dnsbl-refused": _warning(
            "a list refuses the queries of this server", "run a resolver, or register with the list"
        ),
        "dnsbl-dead": _warning("a list does not have its test entry", "correct or remove the section"),
        "dnsbl-lists-all": _error("a list has every address", "remove the section"),
    },
    "Other programs and servers": {
        "filter-unusable": _error(
            "a mail filter cannot be asked", "start the filter, or correct `policy.milter`"
        ),
        "smarthost-unusable": _error(
            "the smarthost cannot be reached, or refuses the login",
            "correct `relay.smarthost`, `smarthost_user` or `smarthost_password_file`",
        ),
        "route-unusable": _error("the server of a route cannot be reached", "correct `relay.routes`"),
    },
    "Queue": {
        "queue-old": _warning(
            "mail waits for more than a day", "look at the reason; `mailserver queue list`"
        ),
        "queue-overdue": _error(
            "mail waits for longer than `queue.expire_after`", "look into the log, and restart the server"
        ),
        "queue-stuck": _error(
            "attempts are overdue, and none is made", "look into the log, and restart the server"
        ),
        "queue-deferred": _warning("much mail for one destination waits", "look at the reason"),
        "queue-long": _warning("very much mail waits", "look for an account that sends spam"),
        "queue-held": _warning("mail is held", "`mailserver queue release` or `remove`"),
    },
    "Accounts and mailboxes": {
        "no-accounts": _warning("there is no account", "`mailserver account add ADDRESS`"),
        "no-password": _warning("an account has no password", "`mailserver account passwd ADDRESS`"),
        "account-hidden": _warning(
            "an account of the account store is hidden by a name in the configuration", "remove one of them"
        ),
        "account-not-served": _warning(
            "an account of the account store is in none of `domains`", "add the domain, or remove the account"
        ),
        "alias-broken": _error("an alias leads to a name that does not exist", "correct or remove the alias"),
        "alias-loop": _error("aliases lead to each other in a circle", "correct one of them"),
        "list-member-unknown": _error("a list has a member that does not exist", "remove the member"),
        "list-owner-unknown": _warning("the owner of a list does not exist", "set another owner"),
        "postmaster-missing": _error("mail to postmaster is rejected", "add an alias for it"),
        "abuse-missing": _notice("mail to abuse is rejected", "add an alias for it"),
        "mailbox-full": _error("a mailbox has reached its quota", "remove mail, or raise the quota"),
        "mailbox-nearly-full": _warning("a mailbox is near its quota", "remove mail, or raise the quota"),
        "mailbox-unusable": _error(
            "the directory of a mailbox has a wrong name, or belongs to another user", "as printed"
        ),
        "mailbox-without-account": _warning(
            "a mailbox has mail and no account", "add the account, or move the directory away"
        ),
        "quarantine-large": _warning("much mail is kept aside", "`mailserver quarantine list`"),
        "quarantine-old": _notice("mail is kept aside for long", "`mailserver quarantine list`"),
    },
    "Damage and backup": {
        "database-damaged": _error("a database is damaged, empty or missing", "restore it from a backup"),
        "set-aside": _warning(
            "the server has set damaged files aside", "look for errors of the disk, then remove the files"
        ),
        "format-newer": _error(
            "the data has the format of a newer version: the server does not start", "install that version"
        ),
        "format-old": _notice("the queue has an older format", "restart the server"),
        "backup-never": _warning("there was never a backup", "`mailserver backup DIRECTORY`"),
        "backup-never-new": _notice("a new server has no backup yet", "`mailserver backup DIRECTORY`"),
        "backup-old": _warning("the last backup is older than a week", "`mailserver backup DIRECTORY`"),
        "backup-missing": _warning("the directory of the last backup is gone", "mount its disk"),
        "backup-unknown": _warning("the record of the last backup is damaged", "make a backup"),
    },
}

KINDS: Mapping[str, FindingKind] = {name: kind for kinds in SECTIONS.values() for name, kind in kinds.items()}
"""By the name that is printed with a finding."""
