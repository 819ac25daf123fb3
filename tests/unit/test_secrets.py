"""Secrets at rest: sealed for their place, opened by any of our keys, lost without them."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import ConfigError
from shared.secrets import MASK, SecretBox, load_key, mask, new_key, parse_keys

PLACE = "channel:3:bot_token"


def box(*keys: str) -> SecretBox:
    return SecretBox(parse_keys(",".join(keys), "PULSE_SECRET_KEY"))


@pytest.mark.parametrize("secret", ["", "s3", "пароль 🔥", "x" * 10_000, "\ud800"])
def test_what_is_sealed_opens(secret):
    """Every text comes back as it was, and looks like nothing of it meanwhile."""
    key = new_key()
    sealed = box(key).seal(secret, PLACE)
    assert box(key).open(sealed, PLACE) == secret
    assert sealed.isascii()
    assert not secret or secret not in sealed


def test_the_same_secret_is_never_sealed_the_same():
    """Nobody sees which secrets are equal."""
    sealer = box(new_key())
    assert len({sealer.seal("s3", PLACE) for _ in range(100)}) == 100


def test_a_ciphertext_opens_in_its_own_place_only():
    """Who can write to Redis cannot have one channel's token sent to another's server."""
    sealer = box(new_key())
    with pytest.raises(ConfigError, match="channel:4"):
        sealer.open(sealer.seal("s3", PLACE), "channel:4:bot_token")


def test_every_changed_character_is_noticed():
    """The ciphertext is authenticated."""
    sealer = box(new_key())
    sealed = sealer.seal("secretly", PLACE)  # no padding: every bit counts
    for index in range(len(sealed)):
        other = "A" if sealed[index] != "A" else "B"
        with pytest.raises(ConfigError):
            sealer.open(sealed[:index] + other + sealed[index + 1 :], PLACE)


def test_rotation():
    """The first key seals, all open, and what is left to seal again can be told."""
    old, new = new_key(), new_key()
    before = box(old).seal("s3", PLACE)
    both = box(new, old)
    assert both.open(before, PLACE) == "s3"
    assert not both.current(before)
    after = both.seal("s3", PLACE)
    assert both.current(after)
    assert box(new).open(after, PLACE) == "s3"


def test_a_missing_key_is_named_and_not_shown():
    """The error says which key is missing, by its public name."""
    lost, mine = new_key(), new_key()
    with pytest.raises(ConfigError, match="PULSE_SECRET_KEY") as caught:
        box(mine).open(box(lost).seal("s3", PLACE), PLACE)
    assert lost not in str(caught.value)
    assert mine not in str(caught.value)


@pytest.mark.parametrize("text", ["", "v1", "v1.a", "v2.a.b", "plain", "v1.a.b.c", "…"])
def test_what_was_never_sealed_does_not_open(text):
    """A plain secret in the store is no secret of ours."""
    with pytest.raises(ConfigError):
        box(new_key()).open(text, PLACE)


@pytest.mark.parametrize("key", ["short", "x" * 44, base64.b64encode(b"x" * 31).decode(), "ключ", "a" * 1000])
def test_a_wrong_key_is_refused_without_being_shown(key):
    """The message counts to it and says how to make one."""
    with pytest.raises(ConfigError, match="Key 2 in PULSE_SECRET_KEY must be 32 bytes") as caught:
        load_key(f"{new_key()}, {key}", None)
    assert key not in str(caught.value)


@pytest.mark.parametrize("shape", [lambda key: key, lambda key: key.rstrip("="), lambda key: f" {key},\n"])
def test_the_shapes_of_a_key(shape):
    """With or without padding, from urlsafe or standard base64."""
    raw = bytes(range(223, 255))
    for text in (base64.urlsafe_b64encode(raw).decode(), base64.b64encode(raw).decode()):
        assert parse_keys(shape(text), "x") == [raw]


class TestKeyFile:
    def test_it_is_made_once_and_for_its_owner_only(self, tmp_path):
        """The second start reads what the first made."""
        path = tmp_path / "data" / "secret.key"
        sealed = load_key("", path, create=True).seal("s3", PLACE)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load_key("", path, create=True).open(sealed, PLACE) == "s3"
        assert list(path.parent.iterdir()) == [path]

    def test_of_many_that_start_together_one_makes_it(self, tmp_path):
        """All of them have the same key afterwards."""
        path = tmp_path / "secret.key"
        with ThreadPoolExecutor(16) as pool:
            boxes = list(pool.map(lambda _: load_key("", path, create=True), range(64)))
        sealed = boxes[0].seal("s3", PLACE)
        assert {each.open(sealed, PLACE) for each in boxes} == {"s3"}

    def test_a_process_that_may_not_make_it_says_what_is_missing(self, tmp_path):
        """A second key would make the first one's secrets unreadable."""
        with pytest.raises(ConfigError, match="is missing"):
            load_key("", tmp_path / "secret.key")

    def test_the_variable_is_stronger(self, tmp_path):
        """With it no file is made."""
        load_key(new_key(), tmp_path / "secret.key", create=True)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_may_hold_several_keys(self, tmp_path):
        """One a line, the first seals."""
        old, new = new_key(), new_key()
        path = tmp_path / "secret.key"
        path.write_text(f"{new}\n{old}\n")
        assert load_key("", path).open(box(old).seal("s3", PLACE), PLACE) == "s3"

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"nonsense"])
    def test_a_damaged_file_is_named(self, tmp_path, content):
        """It is never silently replaced."""
        path = tmp_path / "secret.key"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"secret\.key"):
            load_key("", path, create=True)
        assert path.read_bytes() == content

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        """One clear line instead of a trace."""
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="cannot be used"):
            load_key("", tmp_path / "file" / "secret.key", create=True)

    def test_neither_key_nor_file(self):
        """The message names the settings."""
        with pytest.raises(ConfigError, match="PULSE_SECRET_KEY"):
            load_key("", None)


@pytest.mark.parametrize(
    ("value", "shown"), [("", MASK), ("short", MASK), ("a-long-enough-secret", f"{MASK}cret")]
)
def test_masks(value, shown):
    """A short secret shows nothing of itself."""
    assert mask(value) == shown
