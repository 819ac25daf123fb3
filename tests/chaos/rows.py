"""A verdict as rows of the scorecard: the figures that every scenario with a load has."""

from chaos.score import Score
from chaos.verdict import Verdict

COUNTS = "an acknowledged heartbeat counts"
ONCE = "each change is one transition and one event"
ARRIVES = "every event reaches every matching target"


def percentile(values: list[float], part: float) -> float:
    """The value below which `part` of the values lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def tell(verdict: Verdict, score: Score) -> None:
    """Adds the rows; notes name the first few of whatever is wrong."""
    lost = [*verdict.holes, *verdict.broken_chains]
    score.zero(ONCE, "transitions lost", len(lost), verdict.transitions)
    score.zero(ONCE, "transitions doubled", len(verdict.doubled), verdict.transitions)
    score.zero(ONCE, "transitions without a cause", len(verdict.uncaused), verdict.transitions)
    score.zero(COUNTS, "acknowledged heartbeats lost", len(verdict.beats_lost), verdict.beats)
    if verdict.deaths:
        score.zero(COUNTS, "false deaths", len(verdict.false_deaths), verdict.deaths)
    if verdict.silences:
        score.zero(COUNTS, "silences never found", len(verdict.missed), verdict.silences)
    if verdict.events.acknowledged:
        queue = verdict.events
        score.zero(ARRIVES, "acknowledged events lost", len(queue.lost), queue.acknowledged)
        wrong = len(queue.duplicated) + len(queue.unexpected)
        score.zero(ARRIVES, "events doubled or made up", wrong, queue.acknowledged)
    due = verdict.deliveries.acknowledged
    score.zero(ARRIVES, "deliveries lost", len(verdict.deliveries.lost), due)
    score.zero(ARRIVES, "deliveries unfinished", len(verdict.unfinished), due)
    score.zero(ARRIVES, "targets whose ledger counts other than what was due", len(verdict.miscounted), due)
    score.zero(ARRIVES, "deliveries that nobody asked for", len(verdict.deliveries.unexpected), due)
    score.zero(
        ARRIVES, "duplicates without a fault between send and record", len(verdict.deliveries.duplicated), due
    )
    score.zero(ARRIVES, "duplicates under another id", len(verdict.other_ids), due)
    score.zero(ARRIVES, "duplicates beyond the claims that were taken back", len(verdict.beyond), due)
    score.zero(ONCE, "events that were seen and vanished", len(verdict.vanished), verdict.transitions)
    _notes(verdict, score)


def ended(promise: str, surprises: list[str], processes: int, score: Score) -> None:
    """Processes of so many that ended although nobody asked; notes name the first few."""
    score.zero(promise, "processes that ended by themselves", len(surprises), processes)
    score.notes += [f"ended by itself: {one}" for one in surprises[:5]]


def _notes(verdict: Verdict, score: Score) -> None:
    queue = verdict.events
    if queue.acknowledged:
        score.notes.append(
            f"Application events: {queue.acknowledged:,} acknowledged, {len(queue.lost)} lost, {len(queue.unexpected)} "
            f"unexpected, {len(queue.duplicated)} duplicated, {len(queue.recovered)} recovered, "
            f"{len(queue.indeterminate)} indeterminate."
        )
    score.notes.append(
        f"Deliveries: {verdict.deliveries.acknowledged:,} due, {verdict.excused} duplicates by a fault between send "
        f"and record, {verdict.regrouped} of them in another digest after Redis forgot or the machine stood still; "
        f"{verdict.repeated} messages came again; {verdict.dead_letters} dead letters, {verdict.unlisted} unnamed "
        "members of large digests."
    )
    if verdict.lags:
        score.notes.append(
            f"Deaths after their deadline, ms: median {percentile(verdict.lags, 0.5):.0f}, "
            f"p99 {percentile(verdict.lags, 0.99):.0f}, longest {max(verdict.lags):.0f} (n = {len(verdict.lags):,})."
        )
    wrong = {
        "lost transition": [*verdict.holes, *verdict.broken_chains],
        "doubled": verdict.doubled,
        "uncaused": verdict.uncaused,
        "lost heartbeat": verdict.beats_lost,
        "false death": verdict.false_deaths,
        "missed": verdict.missed,
        "lost event": queue.lost,
        "lost delivery": verdict.deliveries.lost,
        "unfinished": verdict.unfinished,
        "miscounted": verdict.miscounted,
        "unexpected": verdict.deliveries.unexpected,
        "duplicate": verdict.deliveries.duplicated,
        "other id": verdict.other_ids,
        "beyond": verdict.beyond,
        "vanished": verdict.vanished,
    }
    for word, found in wrong.items():
        score.notes += [f"{word}: {one}" for one in found[:3]]
