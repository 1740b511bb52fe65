"""What the requests do that concern the server as a whole: rules, capabilities, accounts, relaying, time."""

from typing import Any

from mailserver.errors import AddressError
from mailserver.http.exchange import HTTPAnswer, HTTPProblem
from mailserver.http.routes import HTTPCall
from mailserver.testing.http.rules import add_rule
from mailserver.testing.http.served import ServedMailServer
from mailserver.testing.http.views import moment, protocol_view, rule_view, server_view


async def show_server(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Settings and ports."""
    return HTTPAnswer.of(server_view(served))


async def reset(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Forget everything but the ports and the settings."""
    await served.reset()
    return HTTPAnswer.of(server_view(served))


async def ca(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The certificate of the authority, in PEM."""
    pem = served.server.thread.authority.pem
    return HTTPAnswer(200, pem.encode(), "application/x-pem-file")


async def report(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """What has happened, for people."""
    return HTTPAnswer.text(served.server.inbox.report() + "\n")


# ---------------------------------------------------------------- rules


async def list_rules(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """All rules, or those that never acted and are not optional."""
    missed = served.server.never_fired()
    only_missed = call.query.get("never_fired", False)
    chosen = [id for id, rule in served.rules().items() if rule in missed or not only_missed]
    return HTTPAnswer.of({"rules": [rule_view(served, id) for id in chosen]})


async def make_rule(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Add a rule behind the others."""
    instance = served.server.instance
    rule = add_rule(instance.rules, call.body, instance.scripts[call.body["protocol"]].own_names)
    id = served.name(rule, call.given)
    return HTTPAnswer.of(rule_view(served, id), 201)


async def show_rule(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """One rule."""
    return HTTPAnswer.of(rule_view(served, call.path["rule"]))


async def remove_rule(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Take a rule out of force."""
    served.remove_rule(call.path["rule"])
    return HTTPAnswer()


async def remove_rules(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Take all rules out of force."""
    for id in list(served.rules()):
        served.remove_rule(id)
    return HTTPAnswer()


# ---------------------------------------------------------------- protocols


async def show_protocol(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Capabilities and listening."""
    return HTTPAnswer.of(protocol_view(served, call.path["protocol"]))


async def change_protocol(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Replace the hidden or the invented capabilities, begin or stop to listen."""
    name = call.path["protocol"]
    script = served.server.instance.scripts[name]
    if "invented" in call.body:
        script.capabilities.invented = call.body["invented"]
    if "hidden" in call.body:
        before, script.capabilities.hidden = script.capabilities.hidden, set()
        try:
            script.hide(call.body["hidden"])
        except ValueError as error:
            script.capabilities.hidden = before
            raise HTTPProblem(422, f"The capabilities: {error}") from None
    if "listening" in call.body:
        await served.server.instance.listen(name, call.body["listening"])
    return HTTPAnswer.of(protocol_view(served, name))


# ---------------------------------------------------------------- accounts, relaying, time


async def add_account(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Add an account, or change its password."""
    try:
        address = served.server.add_account(**call.body)
    except AddressError as error:
        raise HTTPProblem(422, f"The account: {error}") from None
    return HTTPAnswer.of({"address": address}, 201)


async def show_relay(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """What other servers answer."""
    replies = served.server.instance.relay.replies
    names = ("code", "enhanced", "text", "times")
    views: list[dict[str, Any]] = [
        {"to": each.pattern, **{name: getattr(each, name) for name in names}} for each in replies
    ]
    return HTTPAnswer.of({"replies": views})


async def add_relay_reply(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Let other servers reject or defer mail."""
    try:
        served.server.relay.reply(**call.body)
    except ValueError as error:
        raise HTTPProblem(422, f"The reply: {error}") from None
    return await show_relay(served, call)


async def remove_relay_replies(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Let other servers accept all mail again."""
    served.server.instance.relay.replies.clear()
    return HTTPAnswer()


async def show_clock(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """The time of the server."""
    seconds = served.server.clock.time()
    return HTTPAnswer.of({"time": moment(seconds), "seconds": seconds})


async def advance_clock(served: ServedMailServer, call: HTTPCall) -> HTTPAnswer:
    """Move the time on. All that is due happens before the answer."""
    await served.server.instance.clock.advance(call.body["duration"])
    return await show_clock(served, call)
