"""The OpenAPI file and the code describe the same requests, with the same names."""

from typing import Any

import attrs
import pytest

from mailserver.http.fields import MemberTable
from mailserver.testing.http.control import SETTINGS
from mailserver.testing.http.routes import ACCOUNT, PROTOCOL, RELAY_REPLY, ROUTES, ServedRoute
from mailserver.testing.http.rules import ACTS, RATE, RULE
from mailserver.testing.settings import LISTENERS, SECTIONS, Settings
from tests.support.fixture_api import DOCUMENT, VARIABLE, Api, resolved

SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
# Those that are not for one server.
OF_THE_PROGRAM = {
    ("GET", "/openapi.json"),
    ("GET", "/servers"),
    ("POST", "/servers"),
    ("DELETE", "/servers/{server}"),
}
METHODS = ("get", "post", "patch", "put", "delete")
DESCRIBED = {
    (method.upper(), path): item[method]
    for path, item in DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
}


def test_each_request_is_described_and_the_other_way_round() -> None:
    assert {(route.method, route.path) for route in ROUTES} | OF_THE_PROGRAM == set(DESCRIBED)
    for method, path in OF_THE_PROGRAM:
        assert DOCUMENT["paths"][path]["servers"], method


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_name_is_described_and_the_other_way_round(route: ServedRoute) -> None:
    described = DESCRIBED[route.method, route.path]
    parameters = [resolved(each) for each in described.get("parameters", ())]
    assert {each["name"]: each.get("required", False) for each in parameters} == {
        name: member.required for name, member in route.query.items()
    }
    in_path = [each["name"] for each in DOCUMENT["paths"][route.path].get("parameters", ())]
    assert in_path == VARIABLE.findall(route.path)
    content = described.get("requestBody", {}).get("content", {})
    assert ("application/json" in content) == (route.body is not None)
    assert ("message/rfc822" in content) == route.takes_octets
    if route.body is not None:
        check(resolved(content["application/json"]["schema"]), route.body)


def check(schema: dict[str, Any], members: MemberTable) -> None:
    assert set(schema["properties"]) == set(members)
    assert set(schema["required"]) == {name for name, member in members.items() if member.required}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema,members",
    [
        (SCHEMAS["Rule"], RULE),
        (SCHEMAS["Rule"]["properties"]["above"], RATE),
        (SCHEMAS["Account"], ACCOUNT),
        (SCHEMAS["ProtocolChange"], PROTOCOL),
        (SCHEMAS["RelayReply"], RELAY_REPLY),
        (SCHEMAS["Settings"], SETTINGS),
    ],
)
def test_objects(schema: dict[str, Any], members: MemberTable) -> None:
    check(schema, members)


def test_acts() -> None:
    bare, *with_argument = SCHEMAS["Act"]["oneOf"]
    assert set(bare["enum"]) == {name for name, act in ACTS.items() if act.is_bare}
    names = [name for each in with_argument for name in each["properties"]]
    assert sorted(names) == sorted(name for name, act in ACTS.items() if act.kind is not None)


def test_settings_and_listeners() -> None:
    fields = {field.name for field in attrs.fields(Settings)} - {"sections"}
    assert fields | set(SECTIONS) == set(SETTINGS)
    assert SCHEMAS["Listener"]["properties"]["name"]["enum"] == list(LISTENERS)


def test_the_file_is_served(api: Api) -> None:
    assert api("GET", "/openapi.json") == DOCUMENT
