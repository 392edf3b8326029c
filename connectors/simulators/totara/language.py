"""As much of the GraphQL language as clients of the external API use: documents read into plain trees."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""[\s,\ufeff]+|\#[^\n\r]*|(?P<spread>\.\.\.)|(?P<punct>[!$():=@\[\]{}|&])|(?P<name>[_A-Za-z][_0-9A-Za-z]*)"""
    r"""|(?P<float>-?\d+(?:\.\d+)?[eE][+-]?\d+|-?\d+\.\d+)|(?P<int>-?\d+)"""
    r'''|(?P<block>"""(?:[^"\\]|\\"""|\\|"(?!""))*""")|(?P<string>"(?:[^"\\\n]|\\.)*")'''
)
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class SyntaxFault(Exception):
    """The document is no GraphQL; the message is the server's, the place where it stopped reading."""

    def __init__(self, message: str, position: int, source: str) -> None:
        super().__init__(f"Syntax Error: {message}")
        self.location = locate(source, position)


def locate(source: str, position: int) -> dict[str, int]:
    """Line and column, from 1."""
    return {
        "line": source.count("\n", 0, position) + 1,
        "column": position - (source.rfind("\n", 0, position) + 1) + 1,
    }


@dataclass(frozen=True, slots=True)
class Variable:
    """A reference to a variable."""

    name: str


@dataclass(slots=True)
class Field:
    """A field asked for, under its alias, with arguments and what is asked of its value."""

    name: str
    alias: str
    position: int
    arguments: dict[str, Any] = field(default_factory=dict)
    selections: list[Field] | None = None


@dataclass(slots=True)
class Operation:
    """A query or a mutation."""

    kind: str
    name: str
    variables: dict[str, tuple[str, Any, int]] = field(default_factory=dict)
    """Name to type, default and position."""
    selections: list[Field] = field(default_factory=list)


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(source):
            match = _TOKEN.match(source, position)
            if match is None:
                raise SyntaxFault(f'Cannot parse the unexpected character "{source[position]}".', position, source)
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match[0], position))
            position = match.end()
        self.tokens.append(("eof", "<EOF>", len(source)))
        self.at = 0
        self.fragments: dict[str, list[Field]] = {}

    def peek(self) -> str:
        kind, text, _ = self.tokens[self.at]
        return text if kind in {"punct", "name", "spread", "eof"} else kind

    def take(self) -> tuple[str, str, int]:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def expect(self, text: str) -> None:
        _, found, position = self.tokens[self.at]
        if found != text:
            raise SyntaxFault(f"Expected {text}, found {_named(self.tokens[self.at])}", position, self.source)
        self.take()

    def name(self) -> tuple[str, int]:
        kind, text, position = self.tokens[self.at]
        if kind != "name":
            raise SyntaxFault(f"Expected Name, found {_named(self.tokens[self.at])}", position, self.source)
        self.take()
        return text, position

    def document(self) -> list[Operation]:
        operations = []
        while self.peek() != "<EOF>":
            if self.peek() == "fragment":
                self.take()
                name, _ = self.name()
                self.expect("on")
                self.name()
                self.fragments[name] = self.selections()
            else:
                operations.append(self.operation())
        return operations

    def operation(self) -> Operation:
        if self.peek() == "{":
            return Operation("query", "", {}, self.selections())
        kind, text, position = self.take()
        if kind != "name" or text not in {"query", "mutation"}:
            raise SyntaxFault(f"Unexpected {_named((kind, text, position))}", position, self.source)
        operation = Operation(text, "")
        if self.tokens[self.at][0] == "name":
            operation.name, _ = self.name()
        if self.peek() == "(":
            self.take()
            while self.peek() != ")":
                place = self.tokens[self.at][2]
                self.expect("$")
                name, _ = self.name()
                self.expect(":")
                declared = self.type()
                default = None
                if self.peek() == "=":
                    self.take()
                    default = self.value()
                operation.variables[name] = (declared, default, place)
            self.take()
        operation.selections = self.selections()
        return operation

    def type(self) -> str:
        if self.peek() == "[":
            self.take()
            text = f"[{self.type()}]"
            self.expect("]")
        else:
            text, _ = self.name()
        if self.peek() == "!":
            self.take()
            text += "!"
        return text

    def selections(self) -> list[Field]:
        self.expect("{")
        found: list[Field] = []
        while self.peek() != "}":
            if self.peek() == "...":
                self.take()
                if self.peek() == "on":
                    self.take()
                    self.name()
                    found += self.selections()
                elif self.peek() == "{":
                    found += self.selections()
                else:
                    name, _ = self.name()
                    found += self.fragments.get(name, [])
                continue
            found.append(self.field())
        self.take()
        return found

    def field(self) -> Field:
        name, position = self.name()
        alias = name
        if self.peek() == ":":
            self.take()
            name, _ = self.name()
        made = Field(name, alias, position)
        if self.peek() == "(":
            self.take()
            while self.peek() != ")":
                argument, _ = self.name()
                self.expect(":")
                made.arguments[argument] = self.value()
            self.take()
        if self.peek() == "{":
            made.selections = self.selections()
        return made

    def value(self) -> Any:
        kind, text, position = self.take()
        if text == "$":
            return Variable(self.name()[0])
        if text == "[":
            items = []
            while self.peek() != "]":
                items.append(self.value())
            self.take()
            return items
        if text == "{":
            members = {}
            while self.peek() != "}":
                key, _ = self.name()
                self.expect(":")
                members[key] = self.value()
            self.take()
            return members
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "string":
                return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", _unescape, text[1:-1])
            case "block":
                return text[3:-3].replace('\\"""', '"""').strip("\n")
            case "name":
                return {"true": True, "false": False, "null": None}.get(text, text)
        raise SyntaxFault(f"Unexpected {_named((kind, text, position))}", position, self.source)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code.startswith("u") and len(code) == 5 else _ESCAPES.get(code, code)


def _named(token: tuple[str, str, int]) -> str:
    kind, text, _ = token
    return text if kind in {"punct", "eof", "spread"} else f"{kind.title()} {text}"


def parse(source: str) -> list[Operation]:
    """The operations of a document.

    Raises:
        SyntaxFault: it is no GraphQL.
    """
    return _Parser(source).document()
