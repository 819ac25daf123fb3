"""What goes out for a delivery or for a digest's members: its id above all."""

import json

from waiting import turns

from services.notifier.jobs import letter, written
from shared.channels import Channel
from shared.deliveries import Delivery

CHANNEL = Channel(3, "ops", "webhook", {})
META = json.dumps({"note": json.dumps({"title": "broken"}), "name": "shop", "monitor": "m1"})


def member(number: int, digest: int = 0) -> Delivery:
    """A claimed delivery, of a digest or alone."""
    return Delivery(
        *(
            CHANNEL.target,
            number,
            number,
            f"mp.m1.{number}",
            "monitor.dead",
            "{}",
            1_000,
            1_000,
            0,
            1,
            "",
            META,
        ),
        next=0,
        digest=digest,
    )


def test_a_delivery_has_the_id_of_its_event() -> None:
    """The same in every channel and at every attempt."""
    sent = letter(CHANNEL, [member(7)])
    assert (sent.event_id, sent.event_type) == ("mp.m1.7", "monitor.dead")


def test_a_digest_has_the_id_of_its_claim() -> None:
    """Repeated it has it again, with fewer members too; another digest of the same events has another."""
    first = letter(CHANNEL, [member(7, 5_000), member(8, 5_000)])
    assert (first.event_id, first.event_type) == ("mp.digest.channel.3.5000", "digest")
    assert json.loads(first.payload) == {"count": 2, "events": ["mp.m1.7", "mp.m1.8"]}
    rest = letter(CHANNEL, [member(8, 5_000)])
    assert (rest.event_id, rest.event_type) == (first.event_id, "digest")
    assert letter(CHANNEL, [member(7, 15_000), member(8, 15_000)]).event_id != first.event_id


async def test_others_have_turns_while_a_storms_digest_is_written() -> None:
    """It is the same letter; 20,000 members take 0.1 s."""
    members = [member(number, 5_000) for number in range(20_000)]
    async with turns(every=0.001) as others:
        sent = await written(CHANNEL, members)
        assert others.count >= 2
    assert sent == letter(CHANNEL, members)
