"""The promises, proven under fault: real processes, a seeded load, injected faults, and a checker that can fail.

| module | what |
|---|---|
| `world` | `World`: the real processes of one installation on one Redis, started, killed and stalled by name |
| `points` | named points in a process at which it kills itself; `launch` starts a service with them |
| `receivers` | `Receivers`: HTTP servers in the campaign's own process that note every delivery they get |
| `workload` | `Workload`: seeded load through the real HTTP interface, every request with its outcome |
| `history` | `History`: requests, stream events, deliveries and faults, in memory and as JSON lines |
| `checker` | pure: judges a history (`lives`: monitor by monitor) into a `verdict`; `tests/unit` shows it failing |
| `repeats` | pure: whether each message that came again has a kill of its own, where one is sent at a time |
| `killing` | kill -9 of services again and again, at random and at points, as a plan says |
| `score` | `Context` (what a scenario gets) and `Score` of `Row`s (what it returns) |
| `rig` | `rig(context)`: all of the above put together around one Redis, the usual start of a scenario |
| `proxy`, `redis_server`, `clock` | what is broken on purpose: replies, fsyncs, the wall clock of a process |
| `healthy`, `retrying`, `wire` | thousands of clients that never retry, clients that always do, and their HTTP |
| `consistency` | whether what Redis holds contradicts itself |
| `scenarios/` | one file per scenario, found by its `NAME` |
| `campaign` | `python -m chaos.campaign --seed 7 --minutes 30 [--only name]`, each scenario a process of its own |
| `scorecard` | prints the scores and writes them into `docs/reliability.md` |

A scenario is a module of `scenarios/` with

    NAME = "kills"                    # the word of `--only`
    PROMISE = "…"                     # the sentence it proves
    WEIGHT = 3.0                      # its part of the campaign's minutes
    LEAST = 20.0                      # seconds below which it proves nothing: left out, visibly, of a shorter run
    async def run(context: Context) -> Score: ...

It makes use of `context.budget` seconds, draws everything random from `context.rng`, keeps its files in
`context.folder`, and returns rows even when they fail; an exception fails the scenario as a whole. `context.scale`
is 1.0 for a full campaign and less for a shorter one: `context.count(200, least=4)` is the number of kills then.

Processes are started with a leash: they die with the campaign's process, however that ends.
"""
