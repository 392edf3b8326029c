"""Reading parameters as Moodle does: PHP forms, and the descriptions of each function's parameters.

Observed on Moodle 4.5.6 (`contracts/moodle-4.5`, Encoding): lists may have gaps in their indexes, unknown
keys are refused, booleans are `1` and `0` only, a value is refused unless it equals its own cleaned form, and
variables beyond `max_input_vars` are dropped without a word. The descriptions (names, types, defaults) are in
`signatures.json.gz`.
"""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote_to_bytes

from connectors.simulators.moodle.errors import MoodleError, invalid_parameter
from connectors.simulators.moodle.text import clean_multilang, is_clean_html, strip_tags

MISSING = object()


@dataclass(frozen=True, slots=True)
class Signature:
    """What one web service function takes."""

    name: str
    version: str
    write: bool
    parameters: dict[str, Any]


@cache
def signatures() -> dict[str, Signature]:
    """Return every function a Moodle 4.5 offers here, by name."""
    packed = files("connectors.simulators.moodle").joinpath("signatures.json.gz").read_bytes()
    return {
        name: Signature(name, item["version"], item["write"], item["parameters"])
        for name, item in json.loads(gzip.decompress(packed)).items()
    }


def decode_form(encoded: bytes, max_vars: int) -> list[tuple[str, str]]:
    """Split an url-encoded form into its variables, dropping those beyond the limit.

    Bytes that are no UTF-8 survive as surrogates, so that the value can be refused later.
    """
    pairs: list[tuple[str, str]] = []
    if not encoded:
        return pairs
    for part in encoded.split(b"&"):
        if not part:
            continue
        if len(pairs) >= max_vars:
            break
        name, _, value = part.partition(b"=")
        pairs.append((_decode(name), _decode(value)))
    return pairs


def _decode(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "surrogateescape")


_PART = re.compile(r"\[([^\]]*)\]")


def decode_multipart(body: bytes, content_type: str, max_vars: int) -> list[tuple[str, str]]:
    """Split a multipart form into its variables (files are left out)."""
    match = re.search(r'boundary="?([^";]+)"?', content_type)
    if match is None:
        return []
    pairs: list[tuple[str, str]] = []
    for part in body.split(b"--" + match.group(1).encode())[1:]:
        head, separator, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if not separator or name is None or b"filename=" in head or len(pairs) >= max_vars:
            continue
        pairs.append(
            (
                name.group(1).decode("utf-8", "surrogateescape"),
                value.removesuffix(b"\r\n").decode("utf-8", "surrogateescape"),
            )
        )
    return pairs


def build_arrays(pairs: list[tuple[str, str]], into: dict[str, Any] | None = None) -> dict[str, Any]:
    """Turn `a[0][b]=c` variables into nested dictionaries, as PHP does."""
    result: dict[str, Any] = {} if into is None else into
    for name, value in pairs:
        head, bracket, rest = name.partition("[")
        head = head.strip(" ").replace(".", "_").replace(" ", "_")
        if not head:
            continue
        if not bracket or "]" not in rest:
            result[name.replace(".", "_").replace(" ", "_").replace("[", "_") if bracket else head] = value
            continue
        keys = [head, *_PART.findall("[" + rest)]
        node = result
        for position, key in enumerate(keys):
            if key == "" and position:
                key = str(max((int(k) for k in node if k.lstrip("-").isdigit()), default=-1) + 1)
            if position == len(keys) - 1:
                node[key] = value
            else:
                child = node.get(key)
                if not isinstance(child, dict):
                    child = node[key] = {}
                node = child
    return result


def validate(parameters: dict[str, Any], given: Any) -> dict[str, Any]:
    """Return the cleaned arguments of a call, with defaults filled in; raise Moodle's refusal otherwise."""
    result: dict[str, Any] = _struct(parameters, given)
    return result


def _struct(keys: dict[str, Any], given: Any) -> dict[str, Any]:
    if isinstance(given, list):
        given = {str(i): value for i, value in enumerate(given)}
    if not isinstance(given, dict):
        raise invalid_parameter(f"Only arrays accepted. The bad value is: '{given}'")
    result: dict[str, Any] = {}
    for key, description in keys.items():
        value = given.get(key, MISSING)
        if value is MISSING:
            if "o" in description:
                continue
            if "d" not in description:
                raise invalid_parameter(f"Missing required key in single structure: {key}")
            default = description["d"]
            if "k" in description or "l" in description:
                result[key] = default if default is None else _value(description, default)
            else:
                result[key] = _value(description, default)
            continue
        try:
            result[key] = _value(description, value)
        except MoodleError as error:
            raise invalid_parameter(f"{key} => Invalid parameter value detected: {error.debuginfo}") from None
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise invalid_parameter(f"Unexpected keys ({', '.join(unknown)}) detected in parameter array.")
    return result


def _value(description: dict[str, Any], value: Any) -> Any:
    if "k" in description:
        return _struct(description["k"], value)
    if "l" in description:
        if isinstance(value, list):
            items = value
        elif isinstance(value, dict):
            items = list(value.values())
        else:
            raise invalid_parameter(f"Only arrays accepted. The bad value is: '{value}'")
        return [_value(description["l"], item) for item in items]
    if isinstance(value, dict | list):
        raise invalid_parameter("Scalar type expected, array or object received.")
    kind = description["t"]
    if kind == "bool" and (isinstance(value, bool) or value in (0, 1, "0", "1")):
        return value in (True, 1, "1")
    if value is None:
        if "n" in description:
            return None
        raise invalid_parameter(
            f'Invalid external api parameter: the value is "", the server was expecting "{kind}" type'
        )
    text = _php_string(value)
    cleaned = clean(kind, text)
    if cleaned != text:
        raise invalid_parameter(
            f'Invalid external api parameter: the value is "{text}", the server was expecting "{kind}" type'
        )
    if kind == "int":
        return int(text)
    if kind == "bool":
        return text == "1"
    if kind == "float":
        return float(text)
    return text


def _php_string(value: Any) -> str:
    if value is True:
        return "1"
    if value is False:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,18})\Z")
_PATTERNS = {
    "alpha": re.compile(r"[a-zA-Z]*\Z"),
    "alphanum": re.compile(r"[a-zA-Z0-9]*\Z"),
    "alphanumext": re.compile(r"[a-zA-Z0-9_-]*\Z"),
    "component": re.compile(r"(?:[a-z][a-z0-9]*(?:_[a-z][a-z0-9_]*[a-z0-9])?)?\Z"),
    "plugin": re.compile(r"(?:[a-z][a-z0-9_]*)?\Z"),
    "area": re.compile(r"(?:[a-z][a-z0-9_]*)?\Z"),
    "capability": re.compile(r"(?:[a-z]+(?:/[a-z0-9_]+)?:[a-z0-9_]+)?\Z"),
    "stringid": re.compile(r"(?:[a-zA-Z][a-zA-Z0-9._:/-]*)?\Z"),
    "safedir": re.compile(r"[a-zA-Z0-9_-]*\Z"),
    "username": re.compile(r"[-._@a-z0-9]*\Z"),
    "timezone": re.compile(r"(?:-?[0-9.]+|[A-Za-z]+(?:[/_+-][A-Za-z0-9_+-]+)*)?\Z"),
    "float": re.compile(r"-?\d+(?:\.\d+)?\Z"),
    "theme": re.compile(r"(?:boost|classic)?\Z"),
    "lang": re.compile(r"(?:en)?\Z"),
    "auth": re.compile(r"(?:manual|nologin|email|db|ldap|lti|mnet|none|oauth2|shibboleth|webservice|cas)?\Z"),
}
_TEXT_KINDS: dict[str, Callable[[str], str]] = {
    "text": clean_multilang,
    "notags": strip_tags,
    "cleanhtml": lambda text: text if is_clean_html(text) else text + "\0",
    "raw_trimmed": lambda text: text.strip(" \t\n\r\0\x0b"),
    "tag": lambda text: strip_tags(text).strip(),
}


def clean(kind: str, text: str) -> str:
    """Return a value as Moodle's clean_param would leave it; a caller refuses what differs."""
    if kind == "int":
        return text if _INTEGER.match(text) and text != "-0" and -(2**63) <= int(text) < 2**63 else "\0"
    if kind == "bool":
        return text if text in ("0", "1") else "\0"
    if "\0" in text or not _is_unicode(text):
        return text + "\0"
    if kind in _TEXT_KINDS:
        return _TEXT_KINDS[kind](text)
    pattern = _PATTERNS.get(kind)
    if pattern is not None:
        return text if pattern.match(text) else text + "\0"
    return text


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
