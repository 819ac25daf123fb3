"""Where a command of a cluster belongs, decided by its first key."""

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from shared import keys
from shared.slots import slot_of, slot_of_key

CONTROL = slot_of_key("mp:{c}:schema")


@pytest.mark.parametrize("key", ["plain", "mp:{7}:events", "{}", "a{b}{c}", "{open", "}{x}", "", "ключ{ü}"])
def test_slots_are_redis_own(key: str) -> None:
    """The same as by redis-py's function, which hashes what Redis does; with a tag only the tag."""
    assert slot_of_key(key) == key_slot(key.encode())


def test_all_keys_of_a_shard_lie_together() -> None:
    """A monitor's, a target's, the shard's own."""
    every = (
        keys.events(9),
        keys.monitor(9, "abc"),
        keys.of_target(9, "queue", "channel:1"),
        keys.once(9, "x"),
    )
    assert {slot_of_key(key) for key in every} == {slot_of_key("{9}")}
    assert slot_of_key(keys.worker("a")) == slot_of_key(keys.CHANNELS) == CONTROL


@pytest.mark.parametrize(
    ("command", "slot"),
    [
        (("HGETALL", "mp:{c}:channels"), CONTROL),
        (("TIME",), CONTROL),
        (("CONFIG GET", "appendfsync"), CONTROL),
        (("EVALSHA", "0" * 40, 2, "mp:{3}:a", "mp:{3}:b", "x"), slot_of_key("{3}")),
        (("XADD", b"mp:{3}:events", "*", "a", "b"), slot_of_key("{3}")),
        (("XREAD", b"COUNT", 5, b"STREAMS", "mp:{4}:events", "0"), slot_of_key("{4}")),
        (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "mp:{5}:events", ">"), slot_of_key("{5}")),
        (("XINFO GROUPS", "mp:{6}:events"), slot_of_key("{6}")),
    ],
)
def test_the_first_key_decides(command: tuple[object, ...], slot: int) -> None:
    """Wherever it stands in the command; what has no key goes to the node of the control data."""
    assert slot_of(command) == slot


@pytest.mark.parametrize("command", [("SCAN", 0), ("KEYS", "*"), ("WATCH", "{3}"), ("SAVE",)])
def test_what_one_node_cannot_answer_is_refused(command: tuple[object, ...]) -> None:
    """A part of the keys would look like all of them."""
    with pytest.raises(RedisError, match="not for a whole cluster"):
        slot_of(command)
