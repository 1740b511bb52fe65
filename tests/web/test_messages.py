"""Reading mailboxes by the API: lists, pages, searches, messages, parts."""

from email.message import EmailMessage

import pytest

from mailserver.web.mailboxes import MessageId, from_word, word
from mailserver.web.routes import BASE
from tests.support.web import WebServer

LARGE = 300_000


def message(subject: str, **fields: str) -> bytes:
    found = EmailMessage()
    found["From"] = fields.get("sender", "Émile <emile@client.example>")
    found["To"] = "alice@example.org"
    found["Subject"] = subject
    found.set_content(fields.get("text", "Bonjour Élodie\n"))
    if "html" in fields:
        found.add_alternative(fields["html"], subtype="html")
    if "attached" in fields:
        found.add_attachment(b"<svg/>", maintype="image", subtype="svg+xml", filename=fields["attached"])
    return found.as_bytes().replace(b"\n", b"\r\n")


@pytest.fixture(scope="module", autouse=True)
def some(web: WebServer) -> None:
    web.deliver(message("Überraschung", html="<p>Bonjour <b>tout</b> le monde"))
    web.deliver(message("report", attached='../évil\r\n"name.svg', text="numbers\n"))
    web.deliver(message("large", text="x" * 70 + "\n" + ("y" * 70 + "\n") * (LARGE // 72)))


def subjects(web: WebServer, query: str = "", who: str = "alice") -> list[str]:
    return [each["subject"] for each in web.api("GET", f"/messages?{query}", who)["messages"]]


def test_a_list_has_the_newest_first(web: WebServer) -> None:
    found = web.api("GET", "/messages?mailbox=alice@example.org", "alice")
    assert [each["subject"] for each in found["messages"]] == ["large", "report", "Überraschung"]
    assert (found["total"], found["next"]) == (3, None)
    first = found["messages"][-1]
    assert (first["from"], first["to"]) == ("Émile <emile@client.example>", "alice@example.org")
    assert first["mailbox"] == "alice@example.org" and first["size"] > 100


def test_pages(web: WebServer) -> None:
    cursor, found = "", []
    while cursor is not None:
        page = web.api("GET", f"/messages?limit=1&cursor={cursor}", "alice")
        found += [each["subject"] for each in page["messages"]]
        cursor = page["next"]
    assert found == ["large", "report", "Überraschung"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("subject=%C3%BCBER", ["Überraschung"]),
        ("subject=R", ["large", "report", "Überraschung"]),
        ("from=%C3%A9mile", ["large", "report", "Überraschung"]),
        ("from=client.example&subject=LARGE", ["large"]),
        ("from=nobody", []),
        ("to=alice", ["large", "report", "Überraschung"]),
        ("to=bob", []),
        ("text=%C3%A9lodie", ["Überraschung"]),
        ("text=numbers", ["report"]),
        ("text=report", ["report"]),
        ("text=yyyyy", ["large"]),
        ("text=svg", []),
        ("subject=r&limit=2", ["large", "report"]),
        ("mailbox=ALICE", ["large", "report", "Überraschung"]),
    ],
)
def test_searches(web: WebServer, query: str, found: list[str]) -> None:
    assert subjects(web, query) == found


def id_of(web: WebServer, subject: str, who: str = "alice") -> str:
    (found,) = web.api("GET", f"/messages?subject={subject}", who)["messages"]
    return str(found["id"])


def test_a_message(web: WebServer) -> None:
    shown = web.api("GET", f"/messages/{id_of(web, '%C3%9Cberraschung')}", "alice")
    assert shown["text"] == "Bonjour Élodie\n" and shown["html"].startswith("<p>Bonjour <b>tout")
    names = [each["name"] for each in shown["headers"]]
    assert names.index("Received") < names.index("Subject")
    assert {"name": "Subject", "value": "Überraschung"} in shown["headers"]
    assert [each["content_type"] for each in shown["parts"]] == ["text/plain", "text/html"]


@pytest.mark.parametrize("subject", ["report", "large"])
def test_the_octets(web: WebServer, subject: str) -> None:
    id = id_of(web, subject)
    answer = web.ask("GET", f"{BASE}/messages/{id}/raw", "alice")
    assert answer.fields["content-type"] == "message/rfc822"
    assert "sandbox" in answer.fields["content-security-policy"]
    assert b"\r\nSubject: " + subject.encode() in answer.body
    assert len(answer.body) == web.api("GET", f"/messages/{id}", "alice")["size"]
    head = web.ask("HEAD", f"{BASE}/messages/{id}/raw", "alice")
    assert (head.fields["content-length"], head.body) == (str(len(answer.body)), b"")


def test_a_part_is_saved_and_never_run(web: WebServer) -> None:
    id = id_of(web, "report")
    (attached,) = (
        each for each in web.api("GET", f"/messages/{id}", "alice")["parts"] if each["is_attachment"]
    )
    answer = web.ask("GET", f"{BASE}/messages/{id}/parts/{attached['number']}", "alice")
    assert answer.body == b"<svg/>"
    fields = answer.fields
    assert fields["content-type"] == "application/octet-stream"
    assert fields["content-disposition"].startswith('attachment; filename="')
    assert "/" not in fields["content-disposition"].partition("UTF-8''")[0].replace("..", "")
    assert "sandbox" in fields["content-security-policy"] and fields["x-content-type-options"] == "nosniff"
    text = web.ask("GET", f"{BASE}/messages/{id}/parts/1", "alice")
    assert (text.body, text.fields["content-type"]) == (b"numbers\r\n", "text/plain")
    for number in ("0", "3", "-1", "x", "1e1", "99999999", "²"):
        web.problem(404, "GET", f"/messages/{id}/parts/{number}".replace("²", "%C2%B2"), "alice")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/messages?mailbox=@", 422),
        ("/messages?limit=0", 422),
        ("/messages?limit=501", 422),
        ("/messages?limit=x", 422),
        ("/messages?cursor=x", 422),
        ("/messages?cursor=MS8yLzM", 200),
        ("/messages?lmit=1", 422),
        ("/messages?limit=1&limit=2", 422),
        ("/messages/x", 404),
        ("/messages/%FF", 404),
        ("/messages/", 404),
        ("/messages/..%2F..%2Fetc%2Fpasswd", 404),
        ("/nothing", 404),
    ],
)
def test_what_is_not_possible(web: WebServer, path: str, status: int) -> None:
    if status == 200:
        web.api("GET", path, "alice")
    else:
        web.problem(status, "GET", path, "alice")


def test_other_methods(web: WebServer) -> None:
    answer = web.ask("PUT", f"{BASE}/messages/x/raw", "alice")
    assert (answer.status, answer.fields["allow"]) == (405, "GET")


def test_words() -> None:
    for text in ("", "a", "alice@example.org/1", "ü/x"):
        assert from_word(word(text)) == text
    id = MessageId.read(word("a/b@example.org/uid"))
    assert (str(id.mailbox), id.uid) == ("a/b@example.org", "uid")
    for text in ("=", "YQ==", "YR", "ü", "_w"):
        with pytest.raises(ValueError):
            from_word(text)
