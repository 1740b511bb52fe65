"""Accounts that nobody can log in to, and names that lead nowhere."""

from collections.abc import Iterator

from mailserver.accounts.directory import Account
from mailserver.accounts.passwords import StoredPassword
from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.app.effective import EffectiveAccounts
from mailserver.app.routes import routing_table
from mailserver.mail.address import Address
from mailserver.routing.expansion import ExpansionProblem
from mailserver.routing.table import BOUNCES, POSTMASTER

ABUSE = "abuse"  # RFC 2142 section 4
_OTHER_WAYS = {"EXTERNAL", "XOAUTH2", "OAUTHBEARER"}  # to log in, without a password


def check_accounts(it: Installation) -> Iterator[Examined]:
    """The accounts, aliases and lists in force, and those that are not."""
    accounts = it.accounts
    if accounts is None:
        yield NotChecked("accounts", "the account store is unreadable")
        return
    yield from _logins(it, accounts)
    yield from _stored(it, accounts)
    reported = routing_table(it.config).problems  # as errors of the configuration
    for problem in accounts.table.problems:
        if problem not in reported:
            yield _problem(accounts, problem)
    yield from _required(it, accounts)


def _logins(it: Installation, accounts: EffectiveAccounts) -> Iterator[DoctorFinding]:
    if _OTHER_WAYS.intersection(it.config.auth.mechanisms):
        return
    for key, account in accounts.stored.items():
        is_served = key not in accounts.taken and key.domain in it.config.domains
        if is_served and not _has_password(account) and not account.disabled:
            yield _no_password(account.address)
    for one in it.config.accounts:
        if StoredPassword.read(one.password.reveal()).scheme == "none":
            yield _no_password(one.address)


def _has_password(account: Account) -> bool:
    return bool(account.password or account.scram or account.secret or account.app_passwords)


def _no_password(address: Address) -> DoctorFinding:
    text = "the account has no password: nobody can read its mail"
    return DoctorFinding("no-password", str(address), text, f"mailserver account passwd {address}")


def _stored(it: Installation, accounts: EffectiveAccounts) -> Iterator[DoctorFinding]:
    for key in accounts.stored:
        if key in accounts.taken:
            text = f"the account in the account store is not in force: {it.path} has the same name"
            yield DoctorFinding("account-hidden", str(key), text, f"mailserver account remove {key}")
        elif key.domain not in it.config.domains:
            text = f"the account is not in force: {key.domain} is not in domains"
            mend = f"add {key.domain} to domains, or: mailserver account remove {key}"
            yield DoctorFinding("account-not-served", str(key), text, mend)


def _problem(accounts: EffectiveAccounts, problem: ExpansionProblem) -> DoctorFinding:
    owner = problem.owner
    kind, command = "alias-broken", f"mailserver alias remove {owner}"
    if owner.removesuffix(f"@{owner.rpartition('@')[2]}").endswith(BOUNCES):
        kind, command = "list-owner-unknown", "mailserver list remove, then mailserver list add --owner"
    elif problem.text.startswith("alias loop"):
        kind = "alias-loop"
    elif owner in map(str, accounts.names.lists):
        kind, command = "list-member-unknown", f"mailserver list leave {owner} MEMBER"
    elif owner.startswith(f"{POSTMASTER}@"):
        kind = "postmaster-missing"
    return DoctorFinding(kind, owner, problem.text, command)


def _required(it: Installation, accounts: EffectiveAccounts) -> Iterator[DoctorFinding]:
    if not it.config.accounts and not accounts.stored:
        text = "there is no account: all mail is rejected"
        mend = f"mailserver account add NAME@{it.config.domains[0]}"
        yield DoctorFinding("no-accounts", "accounts", text, mend)
        return
    for domain in it.config.domains:
        for local, kind, rule in (
            (POSTMASTER, "postmaster-missing", "every domain must have it (RFC 5321 section 4.5.1)"),
            (ABUSE, "abuse-missing", "people complain about spam there (RFC 2142)"),
        ):
            address = Address(local, domain)
            if accounts.table.destinations(address, accounts.table.name_of(address)) is None:
                text = f"mail to it is rejected; {rule}"
                yield DoctorFinding(kind, str(address), text, f"mailserver alias add {address} NAME@{domain}")
