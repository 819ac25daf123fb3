"""Every Redis key, in one table.

`{s}` is the shard's hash tag, so that all keys of one script live in one slot; `{c}` is the tag of the small control
data that every service reads. A *target* is `channel:<id>` or `webhook:<id>`; its keys live in the target's shard.

| key | type | TTL | owner | what |
|---|---|---|---|---|
| `mp:{s}:monitor:<id>` | hash | - | shared | the monitor: settings and state (`model.Monitor`; `model.completed`) |
| `mp:{s}:pulse:<id>` | string | until the deadline or a little later | collector | the hint: its expiry event wakes the watchdog |
| `mp:{s}:beats:<id>` | list | - | collector | the newest 100 heartbeats |
| `mp:{s}:history:<id>` | hash | - | shared | `<day>:<status>` → ms in that status, 400 days; `i:<gen>` → an incident |
| `mp:{s}:deadlines` | zset | - | watchdog | the ledger: every monitor by deadline in ms, `inf` when it has none |
| `mp:{s}:events` | stream | 7 days or 1,000,000 entries | shared | every event of the shard |
| `mp:{s}:incidents` | zset | with `history` | shared | ids of incidents that are over by the time they were opened |
| `mp:{s}:open` | zset | - | shared | the incidents still open, likewise |
| `mp:{s}:ingest` | string | - | collector | ms until which all that arrived is recorded, by the newest stamp |
| `mp:{s}:stepped` | string | until it is dealt with | watchdog | ms when the clock was found to have stepped back |
| `mp:{s}:rewinding` | string | 10 s | watchdog | one of them deals with it |
| `mp:{s}:gaps` | zset | newest 1,000 | collector | `<start>-<end>` of each time nobody listened, by its end |
| `mp:{s}:tokens:<bucket>` | hash | - | shared | head of a monitor token's hash → monitor id, in 16,384 buckets |
| `mp:{s}:reserving:<sha256>` | string | 1 min | shared | the monitor that is being given this token |
| `mp:{s}:slugs:<bucket>` | hash | - | shared | monitor id → slug, in 16,384 buckets by slug |
| `mp:{s}:once:<hash>` | string | 1 day | collector | an idempotency key that was accepted |
| `mp:{s}:group:<name>` | string | - | shared | the last id a consumer group has acknowledged in order |
| `mp:{s}:poison` | stream | newest 10,000 | shared | stream entries that no consumer could handle |
| `mp:{s}:queue:<target>` | zset | - | shared | pending deliveries by the ms of their next attempt |
| `mp:{s}:inflight:<target>` | zset | - | shared | claimed deliveries by the ms of their claim |
| `mp:{s}:pending:<target>` `done:` `dead:` | zset | done 30 days, newest 1,000; dead 30 days | shared | delivery numbers by state |
| `mp:{s}:delivery:<target>:<n>` | hash | 30 days once finished | shared | one delivery and its attempts |
| `mp:{s}:seen:<target>` | zset | see deliveries | shared | event ids that already became a delivery |
| `mp:{s}:target:<target>` | hash | - | shared | the target's counters and circuit |
| `mp:{s}:told:<incident>` | set | 31 days | shared | `<target> <n>` of each delivery about an incident |
| `mp:{s}:burst:<target>` | hash | 1 min | notifier | message counters of the storm digest |
| `mp:{s}:repeats:<target>` | zset | - | shared | pending deliveries that may have been sent, by their digest (0: alone) |
| `mp:{s}:digests:<target>` | hash | 1 day | shared | digest under way → members that have not ended, -1: given up |
| `mp:{s}:due:<kind>` | zset | - | shared | targets of a kind by the ms at which a worker should look at them |
| `mp:{s}:sending:<kind>` | zset | - | shared | targets with claimed deliveries by the ms of the oldest claim |
| `mp:{s}:sequence` | string | - | shared | the last delivery number of the shard |
| `mp:{c}:schema` | hash | - | shared | `version` and `shards` of the data |
| `mp:{c}:worker:<id>` | string | 6 s | shared | a worker lives |
| `mp:{c}:apitoken:<sha256>` | hash | - | admin | an API token: id, name, scopes, created_at |
| `mp:{c}:apitokens` | hash | - | admin | API token id → sha256 |
| `mp:{c}:channels` | hash | - | admin | channel id → JSON, secrets encrypted |
| `mp:{c}:webhooks` | hash | - | webhooks | webhook id → JSON, secrets encrypted |
| `mp:{c}:version:<kind>` | string | - | admin, webhooks | grows with each change of `channels` or `webhooks` |
| `mp:{c}:ids:<kind>` | string | - | admin, webhooks | the last integer id given out |
| `mp:{c}:telemetry` | hash | - | collector | domain → JSON of its last telemetry, with the monitor id |
| `mp:{c}:telemetry:pruned` | string | 1 min | collector | shops without a monitor were looked for |
| `mp:{c}:replay:<hash>` | string | 21 min | collector | a telemetry body that was accepted |
| `mp:{c}:ticket:<hash>` | string | 30 s | webhooks | a ticket for `/ws`: the token it stands for |
| `mp:{c}:session:<hash>` | string | 7 days | shared | a session of the pages: the token it stands for |
| `mp:{c}:wrong:<hash>` | string | 1 min | admin | wrong tokens at the sign-in, by address |
| `mp:{c}:pages` | hash | - | admin | slug of a public status page → JSON |
| `mp:{c}:selfping` | string | 1 day | notifier | ms at which the outside was last told that all is well |
| `mp:{c}:selfping:turn` | string | until the next round | notifier | a round of the self-ping was begun |
| `mp:{c}:processes` | hash | - | shared | process → JSON of when it was last seen; dropped after a day |
"""

import hashlib
import zlib

BUCKETS = 16_384
"""Keeps a bucket below 128 entries, and so in its compact encoding, up to two million monitors."""

TOKEN_HEAD = 16
"""Letters of a token's hash that tell it from all others: 96 bits."""


def monitor(shard: int, monitor_id: str) -> str:
    return f"mp:{{{shard}}}:monitor:{monitor_id}"


def pulse(shard: int, monitor_id: str) -> str:
    return f"mp:{{{shard}}}:pulse:{monitor_id}"


def beats(shard: int, monitor_id: str) -> str:
    return f"mp:{{{shard}}}:beats:{monitor_id}"


def history(shard: int, monitor_id: str) -> str:
    return f"mp:{{{shard}}}:history:{monitor_id}"


def deadlines(shard: int) -> str:
    return f"mp:{{{shard}}}:deadlines"


def events(shard: int) -> str:
    return f"mp:{{{shard}}}:events"


def incidents(shard: int) -> str:
    return f"mp:{{{shard}}}:incidents"


def open_incidents(shard: int) -> str:
    return f"mp:{{{shard}}}:open"


def ingest(shard: int) -> str:
    return f"mp:{{{shard}}}:ingest"


def gaps(shard: int) -> str:
    return f"mp:{{{shard}}}:gaps"


def stepped(shard: int) -> str:
    return f"mp:{{{shard}}}:stepped"


def rewinding(shard: int) -> str:
    return f"mp:{{{shard}}}:rewinding"


def tokens(shards: int, token_hash: str) -> tuple[str, str]:
    """The bucket of the token directory with this token, and the token's field in it."""
    bucket = zlib.crc32(token_hash.encode()) % BUCKETS
    return f"mp:{{{bucket % shards}}}:tokens:{bucket}", token_hash[:TOKEN_HEAD]


def reserving(shard: int, token_hash: str) -> str:
    return f"mp:{{{shard}}}:reserving:{token_hash}"


def slugs(shards: int, slug: str) -> str:
    """The bucket that lists every monitor with this slug."""
    bucket = zlib.crc32(slug.encode()) % BUCKETS
    return f"mp:{{{bucket % shards}}}:slugs:{bucket}"


def once(shard: int, digest: str) -> str:
    return f"mp:{{{shard}}}:once:{digest}"


def group(shard: int, name: str) -> str:
    return f"mp:{{{shard}}}:group:{name}"


def poison(shard: int) -> str:
    return f"mp:{{{shard}}}:poison"


def of_target(shard: int, kind: str, target: str) -> str:
    """A target's key; `kind` is one of queue, inflight, pending, done, dead, seen, target, burst, repeats, digests."""
    return f"mp:{{{shard}}}:{kind}:{target}"


def delivery(shard: int, target: str, number: int | str) -> str:
    return f"mp:{{{shard}}}:delivery:{target}:{number}"


def kind_of(target: str) -> str:
    """`channel` or `webhook`."""
    return target.partition(":")[0]


def told(shard: int, incident: str) -> str:
    """The deliveries about an incident, in each shard those of its targets."""
    return f"mp:{{{shard}}}:told:{incident}"


def due(shard: int, kind: str) -> str:
    """By kind of target, so that each service finds its own."""
    return f"mp:{{{shard}}}:due:{kind}"


def sending(shard: int, kind: str) -> str:
    return f"mp:{{{shard}}}:sending:{kind}"


def sequence(shard: int) -> str:
    return f"mp:{{{shard}}}:sequence"


SCHEMA = "mp:{c}:schema"
API_TOKENS = "mp:{c}:apitokens"
CHANNELS = "mp:{c}:channels"
WEBHOOKS = "mp:{c}:webhooks"
TELEMETRY = "mp:{c}:telemetry"
TELEMETRY_PRUNED = "mp:{c}:telemetry:pruned"
STATUS_PAGES = "mp:{c}:pages"
PROCESSES = "mp:{c}:processes"
SELF_PING = "mp:{c}:selfping"
SELF_PING_TURN = "mp:{c}:selfping:turn"


def worker(worker_id: str) -> str:
    return f"mp:{{c}}:worker:{worker_id}"


def api_token(token_hash: str) -> str:
    return f"mp:{{c}}:apitoken:{token_hash}"


def version(kind: str) -> str:
    return f"mp:{{c}}:version:{kind}"


def ids(kind: str) -> str:
    return f"mp:{{c}}:ids:{kind}"


def replay(digest: str) -> str:
    return f"mp:{{c}}:replay:{digest}"


def ticket(digest: str) -> str:
    return f"mp:{{c}}:ticket:{digest}"


def session(digest: str) -> str:
    return f"mp:{{c}}:session:{digest}"


def wrong_tokens(address: str) -> str:
    """By the address's hash, for an address is the client's own text behind a careless proxy."""
    return f"mp:{{c}}:wrong:{hashlib.sha256(address.encode()).hexdigest()[:32]}"
