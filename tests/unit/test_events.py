"""Stream entries become events, whatever is in them."""

import pytest

from shared.events import MONITOR_FIELDS, parse, unpacked

TYPE = "monitor.error"


def record(**values: str) -> str:
    return "\0".join({"type": TYPE, **values}.get(name, "") for name in MONITOR_FIELDS)


def test_a_record_becomes_fields() -> None:
    """Each value stands under its own name, monitor and generation as the event's id; the record itself is gone."""
    written = record(at="1700000000000", gen="2", monitor="m1", name="a \x1f b", tags='["x"]', old="alive")
    event = parse(0, "1-0", {"record": written})
    assert (event.id, event.type, event.at) == ("mp.m1.2", "monitor.error", 1_700_000_000_000)
    assert (event.fields["name"], event.fields["tags"], event.fields["old"]) == ("a \x1f b", '["x"]', "alive")
    assert set(event.fields) == {"id", *MONITOR_FIELDS} - {"gen"}


def test_a_record_of_before_has_its_type_beside_it() -> None:
    """The stream keeps entries for seven days, also over an upgrade."""
    now = record(at="1700000000000", gen="2", monitor="m1")
    before = {"type": TYPE, "record": now.removeprefix(f"{TYPE}\0")}
    assert unpacked(before) == unpacked({"record": now})


def test_a_message_may_hold_what_stands_between_values() -> None:
    """It comes last, and clients write what they like."""
    assert (
        unpacked({"record": record(reason="heartbeat", message="disk\0full\0")})["message"] == "disk\0full\0"
    )


@pytest.mark.parametrize("broken", ["", "m1", "monitor.dead\0m1\0name\0slug"])
def test_a_broken_record_is_no_event(broken: str) -> None:
    """The consumer puts such an entry aside."""
    with pytest.raises(ValueError, match="zip"):
        parse(0, "1-0", {"record": broken})


def test_an_entry_without_a_record_is_left_as_it_is() -> None:
    """An application's event, and what an older version wrote."""
    fields = {"type": TYPE, "id": "mp.m1.2", "at": "1700000000000", "payload": "{}"}
    assert parse(0, "1-0", fields).fields == fields
