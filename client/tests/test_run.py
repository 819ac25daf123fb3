import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorder import Answer
from waiting import wait_until

from mishpulse_client.tail import Tail

LIMIT = 10_000


@pytest.fixture
def start(pulse_command, server):
    """Starts `pulse run` in the background; whatever still runs at the end is killed."""
    started = []

    def run(*command, url=server.url, options=(), **how):
        base, environment = pulse_command
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, **how}
        line = [*base, "run", "--url", url, "--token", "t", *options, "--", *command]
        started.append(subprocess.Popen(line, **how))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    """Runs `pulse run` to its end: exit status, standard output, standard error."""

    def run_to_end(*command, **how):
        process = start(*command, **how)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    return run_to_end


@pytest.fixture
def answering():
    """A server in a process of its own that only says ok: it shares no interpreter with what is measured."""
    program = (
        "import socketserver as s\n"
        "class H(s.StreamRequestHandler):\n"
        "    def handle(self):\n"
        "        while self.rfile.readline().strip(): pass\n"
        "        self.wfile.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')\n"
        "server = s.ThreadingTCPServer(('127.0.0.1', 0), H)\n"
        "print(server.server_address[1], flush=True)\n"
        "server.serve_forever()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def script(text):
    return sys.executable, "-c", text


def test_start_and_end_with_status_output_and_rid(run, server):
    """The command's output passes through, and its start and end are two heartbeats of one rid."""
    status, out, err = run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (status, out, err) == (3, b"out\n", b"err\n")
    start, end = server.requests
    assert [request.path for request in (start, end)] == ["/api/heartbeat/t/start", "/api/heartbeat/t/3"]
    assert start.query["rid"] == end.query["rid"]
    assert end.json["status"] == "error"
    assert sorted(end.json["message"].split()) == ["err", "out"]


def test_success_is_ok(run, server):
    """Exit status 0 ends the run with ok; standard input is the command's."""
    assert run("cat", stdin=subprocess.DEVNULL)[0] == 0
    assert server.requests[1].path == "/api/heartbeat/t/0"
    assert server.requests[1].body == b""


def test_only_the_end_of_long_output_is_sent(run, server):
    """All output passes through; the message is its last 10,000 bytes."""
    text = "".join(f"line {number}\n" for number in range(5_000))
    assert run(*script(f"print({text!r}, end='')"))[1].decode() == text
    assert server.requests[1].json["message"] == text[-LIMIT:]


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["/no/such/command"], 127, "No such file"),
        (["no-such-command-anywhere", "--flag"], 127, "No such file"),
        (["/etc/passwd"], 126, "denied"),
    ],
)
def test_a_command_that_cannot_be_started(run, server, command, status, said):
    """As in a shell 127 or 126, said on standard error and reported as an error."""
    returned, _, err = run(*command)
    assert returned == status
    assert said in err.decode()
    assert server.requests[1].path == f"/api/heartbeat/t/{status}"
    assert said in server.requests[1].json["message"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_command_killed_by_a_signal(run, server, number):
    """As in a shell 128 + signal; the message names the signal after the output."""
    status, out, _ = run("sh", "-c", f"echo working; kill -{int(number)} $$")
    assert (status, out) == (128 + number, b"working\n")
    end = server.requests[1]
    assert end.path == f"/api/heartbeat/t/{128 + number}"
    assert end.json["message"] == f"working\nkilled by {signal.Signals(number).name}"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_are_passed_on(start, server, name):
    """The command gets the signal and decides itself; its exit status is kept."""
    process = start(
        "sh", "-c", f"trap 'echo got it; exit 7' {name[3:]}; echo ready; while :; do sleep 0.05; done"
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (7, b"got it\n")
    assert server.requests[1].path == "/api/heartbeat/t/7"


def test_an_interrupt_of_the_terminal_comes_once(pulse_command, server):
    """Ctrl-C reaches the whole group from the terminal itself, so it is not passed on a second time."""
    base, environment = pulse_command
    command = "trap 'echo interrupted' INT; echo ready; sleep 0.5; sleep 0.5; echo over"
    line = [*base, "run", "--url", server.url, "--token", "t", "--", "sh", "-c", command]
    terminal = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *line]
    with subprocess.Popen(
        terminal, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        seen = b""
        while b"ready" not in seen:
            seen += process.stdout.read1()
        process.stdin.write(b"\x03")
        process.stdin.flush()
        while b"over" not in seen:
            seen += process.stdout.read1()
        process.stdin.close()
    assert seen.count(b"interrupted") == 1
    assert server.requests[1].path == "/api/heartbeat/t/0"


def test_a_second_signal_does_not_keep_the_end_from_being_sent(start, server):
    """A stop that hits the whole group ends the command; the report still goes out."""
    server.answers = [Answer(), Answer(wait=server.released)]
    process = start("sh", "-c", "echo ready; exec sleep 30", options=("--timeout", "5"))
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(server.requests) == 2, "the end was posted")
    process.send_signal(signal.SIGTERM)
    server.released.set()
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_gigabyte_of_output_costs_no_memory(start, server):
    """1 GB passes through within a few megabytes of memory; the last bytes are reported."""
    server.answers = [Answer(), Answer(wait=server.released)]
    process = start("sh", "-c", "head -c 1000000000 /dev/zero; printf the-end", stdout=subprocess.DEVNULL)
    wait_until(lambda: len(server.requests) == 2, "the end was posted", timeout=30)
    most = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    server.released.set()
    assert process.wait(10) == 0
    assert int(most[1]) < 40_000, "kilobytes"
    message = server.requests[1].json["message"]
    assert message.endswith("\0the-end")
    assert len(message) == LIMIT


def test_the_server_is_down(run, nowhere):
    """The command runs all the same; one line says that it was not reported."""
    began = time.monotonic()
    status, out, err = run("sh", "-c", "echo done; exit 4", url=nowhere)
    assert (status, out) == (4, b"done\n")
    assert re.fullmatch(rb"pulse: not reported: .*refused\n", err)
    assert time.monotonic() - began < 3


def test_the_server_hangs(run, server):
    """The command starts at once, and after its end at most the timeout is spent on a server that hangs."""
    server.hang()
    began = time.monotonic()
    status, _, err = run("date", "+%s.%N", options=("--timeout", "1.5"))
    assert status == 0
    assert time.monotonic() - began < 2.8
    assert b"not reported: no answer within 1.5 s" in err
    wait_until(lambda: len(server.requests) == 2, "start and end were both posted")


def test_the_server_answers_slowly(run, server):
    """An answer that takes most of the timeout is an answer."""

    class Slow:
        def wait(self, _):
            server.released.wait(0.5)

    server.answers = [Answer(wait=Slow())]
    assert run("true") == (0, b"", b"")
    assert server.paths() == ["/api/heartbeat/t/start", "/api/heartbeat/t/0"]


def test_the_end_is_retried(run, server):
    """A server that restarts meanwhile gets the end at a later try."""
    server.answers = [Answer(), Answer(503), Answer(503), Answer()]
    assert run("true") == (0, b"", b"")
    assert server.paths()[1:] == ["/api/heartbeat/t/0"] * 3


def test_a_process_left_behind_is_not_waited_for(run, server):
    """A daemon that keeps the pipes open, or fills them for ever, does not keep the run open."""
    began = time.monotonic()
    status, out, _ = run("sh", "-c", "(timeout 5 yes) & timeout 5 sleep 5 & echo started; exit 5", options=())
    assert status == 5
    assert b"started" in out
    assert time.monotonic() - began < 3


def test_the_reader_of_the_output_leaves(pulse_command, server):
    """In `pulse run … | head -1` the command feels the closed pipe as it would alone."""
    base, environment = pulse_command
    line = [*base, "run", "--url", server.url, "--token", "t", "--", "yes"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(10) == 128 + signal.SIGPIPE


def test_closed_standard_files(pulse_command, server):
    """Started with its standard files closed it still runs and reports."""
    base, environment = pulse_command
    line = " ".join([*base, "run", "--url", server.url, "--token", "t", "--", "echo", "hello"])
    done = subprocess.run(["sh", "-c", f"{line} <&- >&- 2>&-"], env=environment, timeout=10, check=False)
    assert done.returncode == 0
    assert server.requests[1].json["message"] == "hello\n"


def test_without_capture_the_output_is_left_alone(run, server):
    """The command writes to our own files itself, and no output is sent."""
    assert run("sh", "-c", "echo hi; exit 2", options=("--no-capture",))[:2] == (2, b"hi\n")
    assert server.requests[1].body == b""


def test_an_ignored_hangup_stays_ignored(pulse_command, server):
    """Under nohup the command ignores hangups as it would alone."""
    base, environment = pulse_command
    show = "import signal; print(signal.getsignal(signal.SIGHUP))"
    line = [*base, "run", "--url", server.url, "--token", "t", "--", sys.executable, "-c", show]
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; "$@"', "sh", *line],
        env=environment,
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert done.stdout in {b"Handlers.SIG_IGN\n", b"1\n"}  # before and since Python 3.11


def test_no_command_is_a_usage_error(pulse_command):
    """`pulse run --token t --` says what is missing."""
    base, environment = pulse_command
    done = subprocess.run(
        [*base, "run", "--token", "t", "--"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"no command" in done.stderr


def test_what_run_imports(pulse_command):
    """The modules that cost more than they are worth to a wrapper stay out of it."""
    _, environment = pulse_command
    heavy = {"http.client", "ssl", "asyncio", "logging", "typing", "dataclasses", "uuid", "random", "email"}
    program = "import sys, mishpulse_client.cli, mishpulse_client.run; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert heavy & set(done.stdout.split()) == set()


def test_overhead_is_small(pulse_command, answering):
    """Start, import, two heartbeats and exit add less than 60 ms to a command.

    The best of many tries on both sides: what other processes take from the machine is not ours.
    """
    _, environment = pulse_command
    entry = (
        "import sys; from mishpulse_client.cli import main; sys.exit(main())"  # as the installed script does
    )
    line = [sys.executable, "-c", entry, "run", "--url", answering, "--token", "t", "--", "true"]

    def took(command):
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        return time.perf_counter() - began

    alone = min(took(["true"]) for _ in range(15))
    assert any(took(line) - alone < 0.060 for _ in range(60))


def test_tail_keeps_whole_characters():
    """Cut in the middle of a character the tail begins with the next one and fits into the limit."""
    tail = Tail(9)
    for _ in range(100):
        tail.add("я".encode())
    assert tail.text() == "яяяя"
    assert tail.text("ж").endswith("\nж")
    assert len(tail.text("ж").encode()) <= 9


def test_tail_of_bytes_that_are_no_text():
    """Binary output becomes readable JSON within the limit."""
    tail = Tail()
    tail.add(bytes(range(256)) * 100)
    assert len(tail.text().encode()) <= LIMIT
    json.dumps(tail.text())
