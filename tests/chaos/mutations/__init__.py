"""Bugs on purpose: each breaks one promise, and some test must notice.

    promise-1.toml … ──▶ catalogue ──▶ trial: copy, apply one, run its tests, judge ──▶ page: docs/reliability.md

`make mutants` plants every one of them, `make mutants ONLY=name` some. A mutation is an exact piece of a file and what
stands there instead; `tests/unit/test_mutations.py` fails as soon as one does not apply any more. What survives is a
hole in the tests: the remedy is a test, not a milder mutation.

To add one, write it into the file of its promise:

    [[mutation]]
    name = "sweep-off"
    file = "services/watchdog/sweep.py"
    old = 'await declare(store, shard, due.ids)'
    new = 'pass'
    tests = ["tests/integration/test_watchdog.py::test_a_silent_monitor_is_dead_right_after_its_deadline"]
    why = "hints may all be lost; the sweep is what misses nobody"
"""
