"""`tickpulse events`, the page that it writes, and the catalogue behind both."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from common.cli import main
from common.errors import ExitCode
from common.events.base import Message
from common.events.catalogue import describe, fields_of, find_types, nested_types, schema_of
from common.events.glossary import FIELDS, OWN_FIELDS
from common.events.market import Tick, Ticks
from common.events.other_names import OTHER_NAMES
from common.events.page import write_page
from common.events.registry import MESSAGE_TYPES, RETIRED_TYPES_BY_NAME, type_name
from common.events.system import ConnectionChanged
from common.events.trading import OrderFilled
from common.events.upcasting import ConnectionChangedV1
from common.events.venue import SubmitOrder

PAGE = Path(__file__).parents[3] / "EVENTS.md"
EVERY_TYPE = [*MESSAGE_TYPES, *RETIRED_TYPES_BY_NAME.values()]
each_type = pytest.mark.parametrize("message_type", EVERY_TYPE, ids=type_name)


def invoke(*arguments: str) -> Result:
    """Run `tickpulse events` with these arguments."""
    return CliRunner().invoke(main, ("events", *arguments))


def test_page_is_what_the_types_say() -> None:
    """Whoever changes a type writes it anew: `tickpulse events page --output EVENTS.md`."""
    assert PAGE.read_text() == write_page()


def test_page_is_printed_and_written(tmp_path: Path) -> None:
    """The same either way."""
    printed, written = invoke("page"), invoke("page", "--output", str(tmp_path / "EVENTS.md"))

    assert (printed.exit_code, written.exit_code, written.output) == (ExitCode.OK, ExitCode.OK, "")
    assert printed.stdout == (tmp_path / "EVENTS.md").read_text() == write_page()


def test_list_shows_every_type_with_priority_and_topic() -> None:
    """One line each."""
    lines = invoke("list").stdout.splitlines()

    assert [line.split()[0] for line in lines] == [type_name(message_type) for message_type in MESSAGE_TYPES]
    (filled,) = [line for line in lines if line.startswith("Trading.Order.Filled.v1")]
    assert filled.split()[1:] == ["event", "critical", "order_filled.{exchange}.{symbol}"]


def test_list_of_a_domain_is_json_for_programs() -> None:
    """Whatever the case of its name."""
    listed = json.loads(invoke("list", "--domain", "auth", "--json").stdout)

    assert len(listed) == 6
    assert listed[0] == {
        "type": "Auth.User.Registered.v1",
        "name": "UserRegistered",
        "domain": "Auth",
        "nature": "event",
        "priority": "NORMAL",
        "topic": "user_registered.auth.{user_id}",
        "emitters": [],
        "answer": None,
        "summary": "A user exists from now on; what they may do is told by permissions.",
    }


def test_list_of_an_unknown_domain_names_those_that_there_are() -> None:
    """Exit 2: an option is wrong."""
    result = invoke("list", "--domain", "trade")

    assert result.exit_code == ExitCode.USAGE
    assert "domain: expected one of Market, Trading, Venue, Portfolio, Risk, System," in result.stderr


@pytest.mark.parametrize("name", ["Trading.Order.Filled.v1", "OrderFilled", "order_filled"])
def test_type_is_found_by_each_of_its_names(name: str) -> None:
    """Versioned, of the class, and of the topic."""
    shown = invoke("show", name).stdout

    assert shown.startswith("Trading.Order.Filled.v1\n")
    assert "  is       event, critical priority\n" in shown
    assert "  sent by  executor\n" in shown
    assert re.search(r"  average_price\? +decimal +mean price of all fills so far, quote units", shown)
    assert '"type": "Trading.Order.Filled.v1"' in shown


def test_kind_of_several_types_shows_them_all() -> None:
    """Ticks come alone or packed, on one topic."""
    assert find_types("tick") == [Tick, Ticks]
    assert invoke("show", "tick").stdout.count("\nExample:\n") == 2


def test_retired_version_is_shown_with_its_successor() -> None:
    """Its class name and kind belong to the newest version."""
    shown = invoke("show", "System.Connection.Changed.v1").stdout

    assert "  sent by  nobody any more\n" in shown
    assert "  read as  System.Connection.Changed.v2\n" in shown
    assert find_types("connection") == find_types("ConnectionChanged") == [ConnectionChanged]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ordr_filled", "order_filled"),
        ("orderfilled", "OrderFilled"),
        ("Trading.Order.Filed.v1", "Trading.Order.Filled.v1"),
        ("Risk.Limit.Breached.v2", "Risk.Limit.Breached.v1"),
    ],
)
@pytest.mark.parametrize("command", ["show", "schema"])
def test_misspelt_type_gets_a_suggestion(command: str, typed: str, meant: str) -> None:
    """Exit 2, and the name that is nearest."""
    result = invoke(command, typed)

    assert result.exit_code == ExitCode.USAGE
    assert f"was '{typed}'; did you mean {meant}" in result.stderr


def test_name_like_no_other_gets_no_suggestion() -> None:
    """A wild guess would mislead."""
    result = invoke("show", "zzzz")

    assert "was 'zzzz'; `tickpulse events list` shows them all" in result.stderr


def test_show_gives_everything_as_json() -> None:
    """For programs that make pages or clients of it."""
    (shown,) = json.loads(invoke("show", "SubmitOrder", "--json").stdout)

    assert (shown["nature"], shown["answer"], shown["priority"]) == ("command", "order_answer", None)
    assert shown["example"]["client_order_id"] == "tp-0123456789abcdef0123456789abcd"
    assert {"name": "quantity", "type": "decimal", "is_required": True, "meaning": "base units"} in shown["fields"]


def test_json_and_schema_exclude_each_other() -> None:
    """One answer at a time."""
    result = invoke("show", "Tick", "--json", "--schema")

    assert result.exit_code == ExitCode.USAGE
    assert "--json, --schema: expected one of them, were both" in result.stderr


def test_schema_of_a_type_tells_bounds_and_meanings() -> None:
    """So that another language can check what it writes."""
    schema = json.loads(invoke("show", "Tick", "--schema").stdout)

    assert schema == json.loads(invoke("schema", "Tick").stdout) == schema_of(Tick)
    tick = schema["$defs"]["Tick"]
    assert tick["properties"]["type"] == {"enum": ["Market.Tick.Received.v1"]}
    assert tick["properties"]["seq"] == {
        "type": "integer",
        "minimum": 0,
        "description": "place in the stream of its topic; rises by one per message",
    }
    assert {"type", "source", "epoch", "seq", "timestamp_ns"} <= set(tick["required"])


def test_schema_of_all_is_one_choice() -> None:
    """By the `type` that comes first in every body."""
    schema = json.loads(invoke("schema").stdout)

    assert len(schema["anyOf"]) == len(MESSAGE_TYPES)
    assert schema["discriminator"]["propertyName"] == "type"


def test_schemas_are_written_one_file_each(tmp_path: Path) -> None:
    """Named after the versioned type; a directory that is not there is made."""
    result = invoke("schema", "--output", str(tmp_path / "new" / "schemas"))

    files = {path.name for path in (tmp_path / "new" / "schemas").iterdir()}
    assert result.output == f"{len(MESSAGE_TYPES)} schemas in {tmp_path}/new/schemas\n"
    assert files == {f"{type_name(message_type)}.schema.json" for message_type in MESSAGE_TYPES}


@pytest.mark.parametrize("command", ["page", "schema"])
def test_output_that_cannot_be_written_is_an_error(command: str, tmp_path: Path) -> None:
    """Told in one line."""
    (tmp_path / "file").touch()

    result = invoke(command, "--output", str(tmp_path / "file" / "below"))

    assert result.exit_code == ExitCode.FAULT
    assert re.search(r"Error: --output .*below: cannot be written: Not a directory", result.stderr)


@each_type
def test_example_is_a_message_of_its_schema(message_type: type[Message]) -> None:
    """It has no field that the schema does not name, and every one that is required."""
    example = msgspec.json.decode(msgspec.json.encode(describe(message_type).example))
    definition = schema_of(message_type)["$defs"][message_type.__name__]

    assert set(definition["required"]) <= set(example) <= set(definition["properties"])


def test_topic_is_shown_with_the_fields_that_it_is_made_of() -> None:
    """So that a subscriber can write its pattern."""
    assert describe(OrderFilled).topic == "order_filled.{exchange}.{symbol}"
    assert describe(ConnectionChangedV1).topic == "connection.{exchange}.{peer}"


def test_field_types_are_in_words() -> None:
    """With their bounds."""
    words = {field.name: field.type for field in fields_of(SubmitOrder)}

    assert words["client_order_id"] == "id"
    assert words["quantity"] == "decimal"
    assert words["side"] == "buy / sell"
    assert words["order_count"] == "int from 0"
    assert words["exchange"] == "text, up to 64"


def test_glossary_knows_exactly_the_fields_that_there_are() -> None:
    """Nothing is unexplained, and nothing is explained that is not there."""
    structs = [*EVERY_TYPE, *nested_types()]
    names = {(struct.__name__, name) for struct in structs for name in struct.__struct_fields__}
    own = {(name, field) for name, fields in OWN_FIELDS.items() for field in fields}

    assert {field for _, field in names - own} == set(FIELDS)
    assert own <= names


def test_every_type_says_when_it_is_sent() -> None:
    """In a sentence of its own, not that of the class above it."""
    summaries = [describe(message_type).summary for message_type in EVERY_TYPE]

    assert [summary for summary in summaries if not re.fullmatch(r".{15,}[.!]", summary)] == []
    assert len(set(summaries)) == len(summaries)


def test_names_of_other_designs_are_listed_once() -> None:
    """Each leads to types of ours that can be read, or to a class above some that can."""
    names = [name for other in OTHER_NAMES for name in other.names]

    assert len(set(names)) == len(names)
    for other in OTHER_NAMES:
        assert all(any(issubclass(known, named) for known in MESSAGE_TYPES) for named in other.types), other
