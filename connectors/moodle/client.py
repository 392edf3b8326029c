"""Calls to Moodle's REST server: one at a time, or many in one request.

The token goes into the POST body and nowhere else. Reads are simply repeated when they fail in passing; a write is
repeated only where it surely was not carried out, and is otherwise reported as unknown.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlencode

from bridge.logs import logger
from bridge.ports import BridgeError, FixConfiguration, OutcomeUnknown, RetryLater, SkipItem, StopRun
from connectors.http import (
    ContextPool,
    HttpTransport,
    Redactor,
    Reply,
    Sleep,
    TransportFault,
    jittered,
    retrying,
    without_query,
)
from connectors.moodle.errors import (
    BodyTooLarge,
    Incomplete,
    MaybeDeadlock,
    error_of,
    error_of_reply,
    parse_fault,
    parse_inner_fault,
)
from connectors.moodle.options import MoodleOptions

BATCH = "tool_mobile_call_external_functions"
SITE_INFO = "core_webservice_get_site_info"

DEADLOCK_TRIES = 4

_log = logger("moodle")


@dataclass(frozen=True, slots=True)
class Call:
    """One web-service function with its arguments. `raw` asks for texts as stored instead of as displayed."""

    function: str
    arguments: Mapping[str, Any]
    raw: bool = False


class Fate(Enum):
    """What became of one written call."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one written call, with the answer, or the error that says why not."""

    fate: Fate
    data: Any = None
    error: BridgeError | None = None

    @property
    def why(self) -> str:
        """The error's sentence; empty where there was none."""
        return str(self.error) if self.error is not None else ""


class _FallenShort(Exception):
    """A batch that ended before its end: the answers so far, the first error, and what it means for the rest."""

    def __init__(self, answers: list[Any], error: BridgeError, *, item_failed: bool) -> None:
        super().__init__(str(error))
        self.answers = answers
        self.error = error
        self.item_failed = item_failed


class MoodleClient:
    """A Moodle site as one account sees it."""

    def __init__(
        self, options: MoodleOptions, transport: HttpTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        secret = options.token.get_secret_value()
        if not secret.strip():
            raise FixConfiguration("There is no Moodle token. Put the service account's token into MOODLE_TOKEN.")
        if not options.url.lower().startswith(("http://", "https://")):
            raise FixConfiguration(
                f"MOODLE_URL must begin with https:// (or http://), but is {without_query(options.url)!r}."
            )
        self.options = options
        self.sleep = sleep
        self._redact = Redactor([secret])
        self._transport = transport or HttpTransport(
            timeouts=options.timeouts, verify=options.verify, redact=self._redact
        )
        self._where = without_query(options.url.rstrip("/"))
        self._lock = threading.Lock()
        self._site: Mapping[str, Any] | None = None
        self._worked = False
        self._largest_batch = options.calls_per_request
        self._pool: ThreadPoolExecutor | None = None
        self.guard: Callable[[bool], None] = lambda _writes: None
        """Asked right before each request goes out, and told whether it writes; raises StopRun where it may not."""

    # --- What the site is ------------------------------------------------------------------------------------------

    @property
    def requests_sent(self) -> int:
        """How many HTTP requests went out so far."""
        return self._transport.requests_sent

    def site(self, *, fresh: bool = False) -> Mapping[str, Any]:
        """Return what Moodle says of itself and of the account; asked once, unless `fresh`."""
        with self._lock:
            known = self._site
        if known is None or fresh:
            known = self.read(Call(SITE_INFO, {}))
            if not isinstance(known, dict) or "functions" not in known:
                raise FixConfiguration(f"{self._where} answers, but not as a Moodle does. Check MOODLE_URL.")
            with self._lock:
                self._site = known
        return known

    def functions(self) -> frozenset[str]:
        """Return the names of the functions in the token's service."""
        return frozenset(function["name"] for function in self.site()["functions"])

    def can_batch(self) -> bool:
        """Say whether many calls may travel in one request."""
        return BATCH in self.functions()

    def close(self) -> None:
        """Give back connections and threads."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        self._transport.close()

    # --- Reading ---------------------------------------------------------------------------------------------------

    def read(self, call: Call, settings: Mapping[str, str] | None = None) -> Any:
        """Return the answer to one reading call, tried again where it failed in passing. Raises a BridgeError."""
        try:
            return self._patient(reads=True)(self._once, call, settings or {}, False)
        except RetryLater as error:
            raise StopRun(str(error)) from None
        except OutcomeUnknown as error:
            raise StopRun(f"{error} Reading was tried {self.options.attempts} times.") from None

    def read_many(
        self, calls: Sequence[Call], settings: Mapping[str, str] | None = None, *, size: int | None = None
    ) -> Iterator[Any]:
        """Yield the answers to reading calls, in their order; a BridgeError stands where a call was refused by itself.

        Raises StopRun or FixConfiguration where none can be answered.
        """
        size = min(size or self.options.read_batch_size, self._largest_batch)
        if len(calls) == 1:
            try:
                yield self.read(calls[0], settings)
            except SkipItem as error:
                yield error
            return
        if not self.can_batch():
            size = 1
        chunks = [calls[start : start + size] for start in range(0, len(calls), size)]
        if len(chunks) == 1:
            yield from self._read_chunk(chunks[0], settings or {})
            return
        pool = self._threads()
        # A window of chunks under way bounds the memory; the answers come back in the order of the calls.
        window = max(1, self.options.connections)
        waiting = [pool.submit(self._read_chunk, chunk, settings or {}) for chunk in chunks[:window]]
        following = iter(chunks[window:])
        while waiting:
            answers = waiting.pop(0).result()
            chunk = next(following, None)
            if chunk is not None:
                waiting.append(pool.submit(self._read_chunk, chunk, settings or {}))
            yield from answers

    def _read_chunk(self, calls: Sequence[Call], settings: Mapping[str, str]) -> list[Any]:
        answers: list[Any] = []
        while len(answers) < len(calls):
            rest = calls[len(answers) :]
            if len(rest) == 1 or not self.can_batch():
                try:
                    answers.append(self.read(rest[0], settings))
                except SkipItem as error:
                    answers.append(error)
                continue
            rest = rest[: self._largest_batch]
            try:
                answers += self._patient(reads=True)(self._batch, rest, settings, False)
            except _FallenShort as short:
                answers += short.answers
                if short.item_failed:
                    answers.append(self._item_error(short.error))
                else:
                    self._shrink(len(rest))
            except BodyTooLarge:
                self._shrink(len(rest))
            except RetryLater as error:
                raise StopRun(str(error)) from None
            except OutcomeUnknown as error:
                if len(rest) == 1:
                    raise StopRun(str(error)) from None
                # Too much for one request, perhaps: the server ran out of time or memory. Half of it may do.
                answers += self._read_chunk(rest[: len(rest) // 2], settings)
        return answers

    def _item_error(self, error: BridgeError) -> BridgeError:
        if isinstance(error, StopRun | FixConfiguration):
            raise error
        return error

    # --- Writing ---------------------------------------------------------------------------------------------------

    def write(self, calls: Sequence[Call], *, batch: int | None = None) -> list[Result]:
        """Carry out writing calls in their order and return what became of each; `batch` of them share a request.

        A call that is refused is set apart and the rest goes on. Where the answer got lost, the calls that may have
        been carried out are unknown and the rest is not sent; the same holds where nothing can work any more.
        """
        results: list[Result] = []
        tries = 0
        while len(results) < len(calls):
            size = min(batch or self.options.batch_size, self._largest_batch) if self.can_batch() else 1
            rest = calls[len(results) : len(results) + size]
            try:
                if len(rest) == 1:
                    answers = [self._patient(reads=False)(self._once, rest[0], {}, True)]
                else:
                    answers = self._patient(reads=False)(self._batch, rest, {}, True)
            except _FallenShort as short:
                results += [Result(Fate.DONE, data) for data in short.answers]
                if short.answers:
                    tries = 0
                error = short.error
                if not short.item_failed:
                    self._shrink(len(rest))
                    continue
            except BridgeError as caught:
                error = caught
            else:
                results += [Result(Fate.DONE, data) for data in answers]
                tries = 0
                continue
            if isinstance(error, MaybeDeadlock) and tries < DEADLOCK_TRIES:
                tries += 1
                self.sleep(jittered(0.2 * 2**tries))
                continue
            tries = 0
            if isinstance(error, BodyTooLarge) and len(rest) > 1:
                self._shrink(len(rest))
                continue
            if isinstance(error, OutcomeUnknown):
                results += [Result(Fate.UNKNOWN, error=error)] * len(rest)
                break
            if isinstance(error, RetryLater):
                error = StopRun(str(error))
            if isinstance(error, StopRun | FixConfiguration):
                results.append(Result(Fate.NOT_SENT, error=error))
                break
            if isinstance(error, BodyTooLarge):
                error = SkipItem("This item is too large for one request to this Moodle. Shorten its description.")
            results.append(Result(Fate.REFUSED, error=error))
        left = len(calls) - len(results)
        if left:
            results += [Result(Fate.NOT_SENT, error=results[-1].error)] * left
        return results

    # --- Requests --------------------------------------------------------------------------------------------------

    def _patient(self, *, reads: bool) -> Any:
        kinds = (RetryLater, OutcomeUnknown) if reads else (RetryLater,)
        return retrying(
            attempts=self.options.attempts if not reads else max(2, self.options.attempts - 2),
            sleep=self.sleep,
            retry_on=lambda error: isinstance(error, kinds),
        )

    def _once(self, call: Call, settings: Mapping[str, str], writes: bool) -> Any:
        form: list[tuple[str, str]] = list(settings.items())
        if call.raw:
            form.append(("moodlewssettingraw", "1"))
        form += flatten(call.arguments)
        return self._post(call.function, form, writes=writes)

    def _batch(self, calls: Sequence[Call], settings: Mapping[str, str], writes: bool) -> list[Any]:
        form: list[tuple[str, str]] = [pair for pair in settings.items() if pair[0] != "moodlewssettinglang"]
        language = settings.get("moodlewssettinglang")
        for index, call in enumerate(calls):
            form.append((f"requests[{index}][function]", call.function))
            form.append((f"requests[{index}][arguments]", json.dumps(call.arguments, ensure_ascii=False)))
            if call.raw:
                form.append((f"requests[{index}][settingraw]", "1"))
            if language:
                form.append((f"requests[{index}][settinglang]", language))
        body = self._post(BATCH, form, writes=writes)
        responses = body.get("responses") if isinstance(body, dict) else None
        if not isinstance(responses, list) or len(responses) > len(calls):
            raise OutcomeUnknown(f"{self._where} answered a batch in a form we do not know; it is looked up first.")
        answers: list[Any] = []
        for call, response in zip(calls, responses, strict=False):
            if response.get("error"):
                fault = parse_inner_fault(str(response.get("exception") or ""))
                # The batch itself was let in, so that a refusal inside it is about this function's place in the
                # service and not about the token.
                raise _FallenShort(answers, error_of(fault, call.function, writes=writes), item_failed=True)
            data = response.get("data")
            answers.append(None if data is None else json.loads(data))
        if len(answers) < len(calls):
            missing = Incomplete(f"{self._where} answered {len(answers)} of {len(calls)} calls in one request.")
            if not answers:
                raise OutcomeUnknown(f"{missing} It is looked up before anything is sent again.")
            raise _FallenShort(answers, missing, item_failed=False)
        return answers

    def _post(self, function: str, form: Iterable[tuple[str, str]], *, writes: bool) -> Any:
        # The token goes first: of a form with too many variables PHP keeps the beginning.
        fields = [
            ("wstoken", self.options.token.get_secret_value()),
            ("moodlewsrestformat", "json"),
            ("wsfunction", function),
            *form,
        ]
        self.guard(writes)
        if len(fields) > self.options.max_input_vars:
            raise BodyTooLarge(
                f"{function} needs {len(fields)} form variables; this Moodle takes {self.options.max_input_vars}."
            )
        try:
            reply = self._transport.post(
                self.options.endpoint,
                urlencode(fields).encode("ascii"),
                {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            )
        except TransportFault as fault:
            says = str(fault)[:1].upper() + str(fault)[1:]
            if not fault.sent:
                raise RetryLater(f"{says}. Check the address and the network, or run again later.") from None
            raise OutcomeUnknown(
                f"{says} while it worked on {function}; whether it was done is looked up before anything is sent again."
            ) from None
        return self._decode(reply, function, writes=writes)

    def _decode(self, reply: Reply, function: str, *, writes: bool) -> Any:
        error = error_of_reply(reply, function, where=self._where)
        if error is not None:
            raise error
        try:
            body = json.loads(reply.body)
        except ValueError:
            raise OutcomeUnknown(
                f"The answer of {self._where} to {function} was cut off; whether it was done is looked up before "
                "anything is sent again."
            ) from None
        fault = parse_fault(body)
        _log.debug("answer", function=function, writes=writes, fault=fault.errorcode if fault else "")
        if fault is not None:
            raise error_of(fault, function, writes=writes, worked_before=self._worked)
        if function != BATCH:
            self._worked = True
        return body

    def _shrink(self, size: int) -> None:
        with self._lock:
            self._largest_batch = max(1, min(self._largest_batch, size // 2))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ContextPool(max(1, self.options.connections), thread_name_prefix="moodle")
            return self._pool

    def threads(self) -> ThreadPoolExecutor:
        """Return the threads, one a connection, for writes that may go side by side."""
        return self._threads()


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return nested arguments as PHP's form variables. Null is left out, since a form cannot say it."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in flatten(inner, f"{name}[{key}]" if name else str(key))]
    if isinstance(value, list | tuple):
        return [pair for index, inner in enumerate(value) for pair in flatten(inner, f"{name}[{index}]")]
    if value is None:
        # A form cannot say null; leaving the variable out asks for the default, which is the same wherever we do so.
        return []
    if isinstance(value, bool):
        return [(name, "1" if value else "0")]
    return [(name, str(value))]
