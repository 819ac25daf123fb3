import asyncio
import re
import time

import pytest

from mishpulse_client import Pulse, heartbeat


def check_pair(server, *end):
    start, ending = server.requests
    assert start.path == "/api/heartbeat/t/start"
    assert ending.path == "/api/heartbeat/t"
    assert start.query["rid"] == ending.query["rid"]
    assert (ending.json["status"], ending.json.get("message")) == end or end[1] is None


def test_a_function_reports_start_and_end(server):
    """The decorated function keeps name, arguments and result; its end has the start's rid and the duration."""

    @heartbeat(server.url, "t")
    def double(number):
        """Twice as much."""
        return 2 * number

    assert double(4) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice as much.")
    check_pair(server, "ok", None)
    assert re.fullmatch(r"took \d+\.\d{3} s", server.requests[1].json["message"])


def test_an_exception_is_reported_and_raised_on(server):
    """The end is an error with the exception's class and text; the exception is the program's own."""
    with pytest.raises(KeyError, match="colour"), heartbeat(server.url, "t"):
        raise KeyError("colour")
    check_pair(server, "error", "KeyError: 'colour'")


def test_an_exception_that_cannot_be_shown(server):
    """An exception whose text raises is reported by its class, and raised on unchanged."""

    class ShyError(Exception):
        def __str__(self):
            raise RuntimeError

    with pytest.raises(ShyError), heartbeat(server.url, "t"):
        raise ShyError
    check_pair(server, "error", "ShyError")


@pytest.mark.parametrize(("code", "status"), [(0, "ok"), (None, "ok"), (3, "error")])
def test_leaving_by_exit(server, code, status):
    """`sys.exit` is an error only with a status other than 0."""
    with pytest.raises(SystemExit), heartbeat(server.url, "t"):
        raise SystemExit(code)
    assert server.requests[1].json["status"] == status


def test_coroutines_and_async_blocks(server):
    """Coroutine functions stay so, and concurrent runs of one function have rids of their own."""

    @heartbeat(Pulse(server.url, "t"))
    async def work(outcome):
        await asyncio.sleep(0.01)
        return outcome

    async def program():
        assert asyncio.iscoroutinefunction(work)
        assert await asyncio.gather(work(1), work(2), work(3)) == [1, 2, 3]
        with pytest.raises(ValueError, match="no"):
            async with heartbeat(server.url, "t"):
                raise ValueError("no")

    asyncio.run(program())
    rids = [request.query["rid"] for request in server.requests]
    assert len(rids) == 8
    assert {rids.count(rid) for rid in rids} == {2}


def test_generators_are_watched_while_they_run(server):
    """A generator's run is from its first value to its last, and ends with ok when it is dropped half-way."""

    @heartbeat(server.url, "t")
    def count():
        yield 1
        yield 2

    numbers = count()
    assert server.requests == []
    assert next(numbers) == 1
    assert server.paths() == ["/api/heartbeat/t/start"]
    assert list(numbers) == [2]
    check_pair(server, "ok", None)
    dropped = count()
    next(dropped)
    dropped.close()
    assert server.requests[3].json["status"] == "ok"


def test_bare_decorator_is_set_up_by_the_environment(server, monkeypatch):
    """`@heartbeat` without brackets takes URL and token from the environment."""
    monkeypatch.setenv("PULSE_API_HOST", server.url)
    monkeypatch.setenv("PULSE_TOKEN", "t")

    @heartbeat
    def work():
        return "done"

    assert work() == "done"
    check_pair(server, "ok", None)


def test_one_object_may_be_nested(server):
    """A block inside a block of the same object ends its own run."""
    watch = heartbeat(server.url, "t")
    with watch, watch:
        pass
    outer, inner, first_end, second_end = (request.query["rid"] for request in server.requests)
    assert (inner, outer) == (first_end, second_end)


def test_a_server_that_hangs_costs_two_timeouts_and_no_more(server, warnings):
    """Start and end are two calls; the result is the program's own whatever becomes of them."""
    server.hang()

    @heartbeat(server.url, "t", timeout=0.2)
    def work():
        return "done"

    began = time.monotonic()
    assert work() == "done"
    assert time.monotonic() - began < 1.5
    assert len(warnings()) == 2
