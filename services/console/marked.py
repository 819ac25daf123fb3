"""YAML whose every value remembers its line and column, so that a bad file can be mended at once."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shared.errors import ConfigError

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a file: a million monitors."""
MOST_NODES: Final = 30_000_000
"""Values after every alias is followed; a file of a few lines could ask for more than memory holds."""
DEEPEST: Final = 50
TOLD: Final = 20
"""Mistakes that are told at once."""

Place = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """The content of a file, and where in it each value stands."""

    name: str
    content: Any = None
    marks: dict[Place, tuple[int, int]] = field(default_factory=dict)
    names: dict[Place, tuple[int, int]] = field(default_factory=dict)

    def mark(self, place: Place) -> tuple[int, int]:
        """Line and column of a value, or of the nearest thing around it that is there."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, (1, 1))

    def check(self, model: type[BaseModel]) -> Any:
        """The content as `model`; ConfigError with a line for each mistake, in the order of the file."""
        try:
            return model.model_validate(self.content)
        except ValidationError as error:
            mistakes = [self._mistake(item) for item in error.errors(include_url=False, include_input=False)]
        lines = [text for _, text in sorted(mistakes)]
        more = [f"… and {len(lines) - TOLD} more"] if len(lines) > TOLD else []
        raise ConfigError("\n".join([*dict.fromkeys(lines[:TOLD]), *more])) from None

    def _mistake(self, item: Any) -> tuple[tuple[int, int], str]:
        place = tuple(item["loc"])
        words = str(item["msg"]).removeprefix("Value error, ")
        mark = self.mark(place)
        if item["type"] == "extra_forbidden":
            words, mark = "there is no such field", self.names.get(place, mark)
        elif item["type"] == "missing":
            words = "this field is missing"
        elif inner := re.match(r"config\.(\w+)", words):
            mark = self.mark((*place, inner[1]))
        name = ".".join(str(part) for part in place) or "the file"
        return mark, f"{self.name}:{mark[0]}:{mark[1]}: {name}: {words}"


def read(path: str) -> Document:
    """The file of this path, `-` for standard input; ConfigError when it cannot be read or is no YAML."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > LARGEST:
        raise ConfigError(f"{path} is larger than {LARGEST >> 20} MiB")
    return parse(raw, "standard input" if path == "-" else path)


def parse(raw: bytes, name: str) -> Document:
    """The document in these bytes; ConfigError with line and column when it is no YAML."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError(f"{name}:{line}:{column}: this is not UTF-8") from None
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        document = Document(name)
        if root is not None:
            document.content = _Reader(loader, document).value(root, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"{where}: {error.problem or error.context or 'this is no YAML'}") from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0) or 0
        line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
        raise ConfigError(f"{name}:{line}:{column}: {getattr(error, 'reason', error)}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: this is no YAML that can be read here: {error}") from None
    finally:
        loader.dispose()
    return document


class _Reader:
    """From nodes to plain values, with their marks."""

    def __init__(self, loader: Any, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._seen = 0

    def value(self, node: Node, place: Place, above: tuple[int, ...]) -> Any:
        self._note(node, place, above)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*place, i), (*above, id(node))) for i, item in enumerate(node.value)]
        if isinstance(node, MappingNode):
            return self._mapping(node, place, (*above, id(node)))
        assert isinstance(node, ScalarNode)
        return self._loader.construct_object(node)

    def _mapping(self, node: MappingNode, place: Place, above: tuple[int, ...]) -> Mapping[str, Any]:
        own: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or not key.value:
                raise self._wrong(key, "a field's name must be a plain text")
            if key.value in own:
                raise self._wrong(key, f"{key.value!r} stands here twice")
            own.add(key.value)
        self._loader.flatten_mapping(
            node
        )  # what `<<` brings in comes first, so that the node's own values win
        found: dict[str, Any] = {}
        for key, item in node.value:
            name = str(key.value)
            self._document.names[*place, name] = (key.start_mark.line + 1, key.start_mark.column + 1)
            found[name] = self.value(item, (*place, name), above)
        return found

    def _note(self, node: Node, place: Place, above: tuple[int, ...]) -> None:
        self._seen += 1
        if id(node) in above:
            raise self._wrong(node, "this alias contains itself")
        if len(above) > DEEPEST or self._seen > MOST_NODES:
            raise self._wrong(node, "this is nested too deep, or its aliases unfold to too much")
        self._document.marks[place] = (node.start_mark.line + 1, node.start_mark.column + 1)

    def _wrong(self, node: Node, words: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=words, problem_mark=node.start_mark)
