"""Cursors: what goes in comes out, and nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.cursor import decode, encode, id_of, moved, parse_id

POSITION = st.tuples(st.integers(0, 10**14), st.integers(0, 2**40))


@given(st.lists(POSITION, min_size=1, max_size=70))
def test_a_cursor_comes_back_as_it_was(vector: list[tuple[int, int]]):
    """For any number of shards and any positions; as text of URL-safe characters."""
    text = encode(tuple(vector))
    assert decode(text, len(vector)) == tuple(vector)
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60), st.integers(1, 5))
def test_any_text_is_a_cursor_or_a_value_error(text: str, shards: int):
    """Nothing else is raised, whatever a client sends."""
    try:
        vector = decode(text, shards)
    except ValueError:
        return
    assert len(vector) == shards


def test_with_one_shard_it_is_the_stream_id():
    """So that it can be read and compared."""
    assert encode(((1_700_000_000_000, 5),)) == "1700000000000-5"


def test_a_cursor_of_another_number_of_shards_is_refused():
    """It would point to wrong places."""
    with pytest.raises(ValueError, match="another event log"):
        decode(encode(((5, 0), (6, 0))), 3)
    with pytest.raises(ValueError, match="no position"):
        decode("5-0", 2)


def test_one_shard_moves():
    """The others stay."""
    assert moved(((1, 0), (2, 0), (3, 0)), 1, (9, 9)) == ((1, 0), (9, 9), (3, 0))
    assert parse_id(id_of((7, 8))) == (7, 8)
