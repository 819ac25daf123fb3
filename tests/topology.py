"""Groups of real servers on loopback: a primary that sentinels watch, and a cluster."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from chaos import leash
from chaos.world import free_port

SLOTS = 16_384
NODE = ("--save", "", "--loglevel", "notice", "--bind", "127.0.0.1", "--protected-mode", "no")


def eventually(predicate: Callable[[], Any], description: str, timeout: float = 20) -> Any:
    """What `predicate` returns once it is truthy; a server that does not answer yet is no error."""
    deadline = time.monotonic() + timeout
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if last := predicate():
                return last
        except redis.RedisError as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout} s: {description} (last: {last!r})")


@dataclass
class Node:
    """One server process on a port of its own, with its data in a folder; it may be frozen, killed and come back.

    `tls` is a folder with `certificate.pem` and `key.pem`: it speaks nothing else then.
    """

    binary: str
    folder: Path
    options: tuple[str, ...] = ()
    tls: Path | None = None
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> "Node":
        """Starts it and waits until it answers, even if it says that it is loading."""
        self.folder.mkdir(parents=True, exist_ok=True)
        places = (*self._port(), "--dir", str(self.folder))
        command = [self.binary, *self.options, *places, *options]
        self.process = leash.start(command, log=self.folder / "log")
        eventually(lambda: self.ask("PING"), f"{command} answers")
        return self

    def _port(self) -> tuple[str, ...]:
        if self.tls is None:
            return ("--port", str(self.port))
        own = {"cert-file": "certificate.pem", "key-file": "key.pem", "ca-cert-file": "certificate.pem"}
        files = (word for name, file in own.items() for word in (f"--tls-{name}", str(self.tls / file)))
        inner = ("--tls-auth-clients", "no", "--tls-replication", "yes", "--tls-cluster", "yes")
        return ("--port", "0", "--tls-port", str(self.port), *files, *inner)

    def ask(self, *command: Any) -> Any:
        """One command on a connection of its own; it has five seconds."""
        secure: dict[str, Any] = (
            {"ssl": True, "ssl_ca_certs": str(self.tls / "certificate.pem")} if self.tls else {}
        )
        with redis.Redis(
            port=self.port, decode_responses=True, socket_timeout=5, socket_connect_timeout=5, **secure
        ) as client:
            return client.execute_command(*command)

    def freeze(self) -> None:
        """Stops it as a machine that hangs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9`, also when it is frozen or gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@dataclass
class SentinelGroup:
    """One primary, its replicas and the sentinels that watch it; each may be killed and come back.

    A sentinel first pings the primary it switched to after a whole period, a second unless told otherwise: with
    `down-after-milliseconds` no longer than that, it now and then takes that primary for gone and replaces it too.
    """

    binary: str
    folder: Path
    replicas: int = 2
    sentinels: int = 3
    down_after_ms: int = 1_000
    options: tuple[str, ...] = ("--appendonly", "yes")
    tls: Path | None = None
    nodes: list[Node] = field(default_factory=list)
    watchers: list[Node] = field(default_factory=list)

    service = "pulse"

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in self.watchers)
        return f"{'rediss' if self.tls else 'redis'}+sentinel://{hosts}/{self.service}/0"

    def start(self) -> "SentinelGroup":
        """Starts all, and waits until every sentinel knows the replicas and the other sentinels."""
        options = (*NODE, *self.options)
        self.nodes = [
            Node(self.binary, self.folder / f"node{i}", options, self.tls) for i in range(1 + self.replicas)
        ]
        self.nodes[0].start()
        for node in self.nodes[1:]:
            node.start("--replicaof", "127.0.0.1", str(self.nodes[0].port))
        self.watchers = [self._watcher(self.folder / f"sentinel{i}") for i in range(self.sentinels)]
        for watcher in self.watchers:
            watcher.start("--sentinel")
            watcher.ask("SENTINEL", "DEBUG", "PING-PERIOD", min(1_000, self.down_after_ms // 5))
        eventually(self.settled, "the sentinels know each other and the replicas")
        return self

    def _watcher(self, folder: Path) -> Node:
        folder.mkdir(parents=True)
        name, quorum = self.service, self.sentinels // 2 + 1
        lines = [
            f"sentinel monitor {name} 127.0.0.1 {self.nodes[0].port} {quorum}",
            f"sentinel down-after-milliseconds {name} {self.down_after_ms}",
            f"sentinel failover-timeout {name} {max(3_000, 3 * self.down_after_ms)}",
            f"sentinel parallel-syncs {name} {self.replicas}",
        ]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        options = (str(folder / "sentinel.conf"), "--bind", "127.0.0.1", "--protected-mode", "no")
        return Node(self.binary, folder, options, self.tls)

    def settled(self) -> bool:
        """Whether each sentinel finds primary, replicas and other sentinels well, and agrees on the primary."""
        states = [watcher.ask("SENTINEL", "MASTER", self.service) for watcher in self.watchers]
        for state in states:
            found = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
            replicas, others = found["num-slaves"], found["num-other-sentinels"]
            if (int(replicas), int(others), found["flags"]) != (self.replicas, self.sentinels - 1, "master"):
                return False
        infos = [node.ask("INFO", "replication") for node in self.nodes]
        roles = sorted(info["role"] for info in infos)
        linked = all(info.get("master_link_status", "up") == "up" for info in infos)
        return linked and roles == ["master", *["slave"] * self.replicas]

    @property
    def primary(self) -> Node:
        """The node that the sentinels call primary."""
        port = eventually(self._primary_port, "a sentinel knows the primary")
        return next(node for node in self.nodes if node.port == port)

    def _primary_port(self) -> int:
        for watcher in self.watchers:
            if watcher.process is not None:
                return int(watcher.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)[1])
        raise AssertionError("no sentinel lives")

    def stop(self) -> None:
        for node in (*self.watchers, *self.nodes):
            node.kill()


@dataclass
class ClusterGroup:
    """A cluster of primaries that share the slots evenly, each with as many replicas as asked for."""

    binary: str
    folder: Path
    primaries: int = 3
    replicas: int = 0
    node_timeout_ms: int = 2_000
    options: tuple[str, ...] = ("--appendonly", "yes")
    tls: Path | None = None
    nodes: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])
        return f"{'rediss' if self.tls else 'redis'}+cluster://{hosts}"

    def start(self) -> "ClusterGroup":
        """Starts all, shares the slots out, and waits until every node finds the cluster well."""
        for index in range(self.primaries * (1 + self.replicas)):
            own = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(self.node_timeout_ms))
            bus = ("--cluster-port", str(free_port()))
            options = (*NODE, *self.options, *own, *bus)
            node = Node(self.binary, self.folder / f"node{index}", options, self.tls)
            self.nodes.append(node.start())
        for index, node in enumerate(self.nodes[: self.primaries]):
            first, last = (SLOTS * index // self.primaries, SLOTS * (index + 1) // self.primaries - 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus(self.nodes[0]))
        eventually(self._met, "all nodes know each other")
        ids = [node.ask("CLUSTER", "MYID") for node in self.nodes[: self.primaries]]
        for index, node in enumerate(self.nodes[self.primaries :]):
            node.ask("CLUSTER", "REPLICATE", ids[index % self.primaries])
        eventually(self.settled, "every node finds the cluster well")
        return self

    @staticmethod
    def _bus(node: Node) -> str:
        return node.options[node.options.index("--cluster-port") + 1]

    def _met(self) -> bool:
        known = [int(node.ask("CLUSTER INFO")["cluster_known_nodes"]) for node in self.nodes]
        return known == [len(self.nodes)] * len(self.nodes)

    def settled(self) -> bool:
        """Whether every node finds the cluster well, and every replica follows its primary."""
        if any(node.ask("CLUSTER INFO")["cluster_state"] != "ok" for node in self.nodes):
            return False
        infos = [node.ask("INFO", "replication") for node in self.nodes]
        linked = all(info.get("master_link_status", "up") == "up" for info in infos)
        return linked and sum(info["role"] == "master" for info in infos) == self.primaries

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
