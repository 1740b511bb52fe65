"""Mailboxes: quotas, mail without an account, and the quarantine."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mailserver.app.doctor.findings import DoctorFinding, Examined, NotChecked
from mailserver.app.doctor.installation import Installation
from mailserver.mail.finding import Finding
from mailserver.mail.quarantine import quarantine_of
from mailserver.mail.words import counted
from mailserver.store.names import mailbox_path
from mailserver.store.quota import count_usage
from mailserver.store.verify import verify_folders

NEAR = 0.9  # of a quota
DAY = 86400.0  # seconds
MANY_KEPT = 500  # messages in a quarantine
OLD = 30 * DAY  # seconds
FOLDERS = ("new", "cur")


def check_mailboxes(it: Installation) -> Iterator[Examined]:
    """All mailboxes on the disk."""
    root = it.data / "mail"
    if it.in_memory or not root.is_dir():
        return
    for found in verify_folders(root, it.data.stat().st_uid):
        if isinstance(found, Finding):
            text = f"{found.wrong}: its mail is not served, or not delivered"
            yield DoctorFinding("mailbox-unusable", str(found.path), text, f"it should {found.repair}")
    yield from _quarantine(it, root)
    accounts = it.accounts
    if accounts is None:
        yield NotChecked("quotas", "the account store is unreadable")
        return
    for mailbox, quota in accounts.quotas.items():
        box = root / mailbox_path(mailbox)
        if not box.is_dir():
            continue
        octets, messages = count_usage(box)
        for used, limit, unit in ((octets, quota.octets, "octets"), (messages, quota.messages, "messages")):
            if limit and used >= NEAR * limit:
                kind = "mailbox-full" if used >= limit else "mailbox-nearly-full"
                text = f"it has {used} of {limit} {unit}" + (
                    ": new mail is rejected" if used >= limit else ""
                )
                mend = "the user removes messages, or: a larger storage.quota, or a quota of its own"
                yield DoctorFinding(kind, str(mailbox), text, mend)
    yield from _without_account(it, root)


def _without_account(it: Installation, root: Path) -> Iterator[DoctorFinding]:
    assert it.accounts is not None
    names = it.config.domains
    served = {*it.accounts.stored, *(one.address.key for one in it.config.accounts)}
    known = {mailbox_path(one) for one in (*served, *map(quarantine_of, names))}
    for box in sorted(root.glob("*/*/new")):
        path = f"{box.parent.parent.name}/{box.parent.name}"
        if path not in known and (number := _count(box.parent)):
            text = f"{counted(number, 'message')} in a mailbox without an account: nobody can read it"
            yield DoctorFinding(
                "mailbox-without-account",
                str(box.parent),
                text,
                "add the account, or move the directory away",
            )


def _count(box: Path) -> int:
    found = 0
    for name in FOLDERS:
        with suppress(FileNotFoundError):
            found += sum(1 for _ in (box / name).iterdir())
    return found


def _quarantine(it: Installation, root: Path) -> Iterator[DoctorFinding]:
    for domain in it.config.domains:
        mailbox = quarantine_of(domain)
        box = root / mailbox_path(mailbox)
        times = []
        for name in FOLDERS:
            with suppress(FileNotFoundError), os.scandir(box / name) as entries:
                times += [entry.stat(follow_symlinks=False).st_mtime for entry in entries]
        mend = "mailserver quarantine list, then mailserver quarantine release or remove"
        if len(times) >= MANY_KEPT:
            text = f"{counted(len(times), 'message')} are kept aside"
            yield DoctorFinding("quarantine-large", str(mailbox), text, mend)
        elif times and it.now - min(times) > (it.config.quarantine.expire_after or OLD) + DAY:
            days = f"{(it.now - min(times)) / DAY:.0f} days"
            text = f"the oldest of {counted(len(times), 'message')} is kept aside for {days}"
            yield DoctorFinding("quarantine-old", str(mailbox), text, mend)
