"""Requests that nobody thought of: schemathesis makes them from the server's own description, some of them valid and some of them not, the same ones for the
same seed. Names of runs, games, data and fields that are really there are put in, so that more than the doors is reached.
"""

from __future__ import annotations

import collections
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
SECONDS = 60
WORDS = ["", "0", "-1", "1e9", "nan", "[1", "none"]
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20), st.sampled_from(WORDS),
                   st.lists(st.one_of(st.integers(-5, 5), st.text(max_size=3)), max_size=4))  # fmt: skip
HOW = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate], "report_multiple_bugs": False}


@dataclass
class Known:
    """What is really there, to be named in requests."""

    runs: list[str]
    jobs: list[str]
    games: list[str]
    data: list[str]
    fields: list[str]

    @classmethod
    def of(cls, ask: Any) -> Known:
        """``ask``: a path to what the server says there."""
        offer = ask("/api/research/games")
        games = [line["name"] for line in offer["games"]]
        fields = {each["name"] for game in games[:6] for each in ask(f"/api/research/games/{game}")["fields"]}
        return cls([run["id"] for run in ask("/api/research/runs")["runs"]], [], games, [line["id"] for line in offer["data"]], sorted(fields))


@dataclass
class Report:
    """``faults``: answers of 500 and above and requests that were not answered. ``surprises``: answers that the description does not know."""

    cases: int = 0
    by_hand: int = 0
    statuses: collections.Counter = field(default_factory=collections.Counter)
    operations: collections.Counter = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    surprises: collections.Counter = field(default_factory=collections.Counter)
    seconds: collections.Counter = field(default_factory=collections.Counter)


class Fuzzer:
    """``address``: of the server. ``number``: of cases for an operation, valid and invalid together; ``by_hand``: of bodies of ours for each that takes one."""

    def __init__(self, address: str, token: str, known: Known, *, number: int, start: int = 0, by_hand: int | None = None):
        self.address, self.known, self.number, self.start, self.by_hand, self.report = address, known, number, start, by_hand, Report()
        self.session = requests.Session()
        self.session.headers["X-Agon-Token"] = token
        self.session.trust_env = False

    def run(self, document: dict[str, Any]) -> Report:
        operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
        for operation in operations:
            for mode, share in ((GenerationMode.POSITIVE, 0.6), (GenerationMode.NEGATIVE, 0.4)):
                begun = time.monotonic()
                self._fuzz(operation, mode, max(1, round(self.number * share)))
                self.report.seconds[f"{operation.method} {operation.path}"] += time.monotonic() - begun
        for operation in operations:
            if operation.method == "post":
                self._by_hand(operation)
        return self.report

    def _fuzz(self, operation: Any, mode: GenerationMode, number: int) -> None:
        known = self.known

        def one_of(names: list[str]) -> st.SearchStrategy:
            return st.one_of(st.none(), st.sampled_from(names)) if names else st.none()

        @seed(self.start)
        @settings(max_examples=number, **HOW)
        @given(
            case=operation.as_strategy(generation_mode=mode), run=one_of(known.runs), job=one_of(known.jobs), game=one_of(known.games), data=one_of(known.data),
            fields=st.dictionaries(st.sampled_from(known.fields or ["-"]), VALUES, max_size=3),
        )  # fmt: skip
        def attempt(case, run, job, game, data, fields):
            name = {"jobs": job, "games": game}.get(operation.path.split("/")[-2 if operation.path.endswith("}") else -3], run)
            fill(case, {"name": name, "run": run, "game": game, "data": data, "fields": fields or None})
            self._ask(operation, case)

        try:
            attempt()
        except Exception as error:
            if type(error).__name__ != "Unsatisfiable":  # an operation without anything to choose has no invalid request
                raise

    def _ask(self, operation: Any, case: Any) -> None:
        name = f"{operation.method.upper()} {operation.path}"
        try:
            response = case.call(base_url=self.address, session=self.session, timeout=SECONDS, allow_redirects=False)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            assume(False)  # what no client can send
        except requests.RequestException as error:
            self._count(name, 0)
            self.report.faults.append(f"{name}: no answer: {type(error).__name__}: {case!r:.1500}")
            return
        self._count(name, response.status_code)
        if response.status_code >= 500:
            self.report.faults.append(f"{name}: {response.status_code} {response.text[:300]}: {case!r:.1500}")
        if response.status_code == 202:  # a job, which the next requests would wait behind
            self.session.delete(f"{self.address}/api/jobs/{response.json()['id']}", timeout=SECONDS)
        try:
            case.validate_response(response, checks=CHECKS)
        except (Failure, FailureGroup) as failure:
            for each in getattr(failure, "exceptions", [failure]):
                self.report.surprises[f"{name}: {response.status_code}: {type(each).__name__} {getattr(each, 'message', '')[:200]}"] += 1

    def _by_hand(self, operation: Any) -> None:
        """Bodies that a maker of valid JSON does not make."""
        name = f"POST {operation.path}"
        path = re.sub(r"\{\w+\}", self.known.runs[0] if self.known.runs else "none", operation.path)
        most = 8 if "json" not in str(operation.definition.raw.get("requestBody")) else self.by_hand  # a child process decodes each of them
        for body in itertools.islice(bodies(self.known), most):
            for kind in ("application/json", "application/octet-stream"):
                head, query = {"Content-Type": kind}, {"run": self.known.runs[:1]}
                try:
                    response = self.session.post(self.address + path, body, headers=head, timeout=SECONDS, params=query)
                except requests.RequestException as error:
                    self.report.faults.append(f"{name}: no answer: {type(error).__name__}: {body[:200]!r}")
                    continue
                self._count(name, response.status_code)
                self.report.by_hand += 1
                if response.status_code >= 500:
                    self.report.faults.append(f"{name}: {response.status_code} {response.text[:300]}: {body[:300]!r}")

    def _count(self, name: str, status: int) -> None:
        self.report.cases += 1
        self.report.statuses[status] += 1
        self.report.operations[name] += 1


def fill(case: Any, names: dict[str, Any]) -> None:
    """Put what is really there where a request names something, None: leave it as it was made."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({key: value for key, value in names.items() if value is not None and key in part})
    if isinstance(case.body, dict) and names["fields"] and "game" in case.body:
        case.body["fields"] = names["fields"]


def bodies(known: Known) -> Iterator[bytes]:
    run = (known.runs or ["none"])[0]
    yield from (b"", b"null", b"[]", b"{}", b"0", b'""', b"NaN", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}" * 2, b'{"run":"\\ud800"}', b'{"\\udfff":1}')
    yield from (b"[" * 100_000, b'{"a":' * 50_000, b'{"n":' + b"9" * 10_000 + b"}", b'{"n":1e999,"run":"x"}', b'{"n":-0.0}', b'{"__proto__":{},"run":"x"}')
    for odd in (b"Infinity", b"-1", b"1e308", b"true", b'"1"', b"[1]", b"{}", b"null", b"1.0", b"2147483647", b"9007199254740993"):
        yield b'{"run":"%s","n":%s,"seed":%s}' % (run.encode(), odd, odd)
        yield b'{"run":"%s","n":1,"seed":1,"label":%s}' % (run.encode(), odd)
    yield b'{"run":"%s","n":1,"n":2,"state":"\\ud83d"}' % run.encode()
    yield b'{"run":"%s","n":1,"plain":false,"state":"#create?\\ud83d"}' % run.encode()
    yield b'{"run":"%s","n":1,"plain":false,"state":"#create?\\u0000"}' % run.encode()
    game, data = (known.games or ["gan"])[0], (known.data or ["x"])[0]
    odd = [b'"\\ud800"', b'"\\u0000"', b'"' + b"9" * 190 + b'"', b"1e300", b"-1e300", b'"1e999"', b'"[[[[["', b'"{}"', b"[null]", b"[[1]]", b'["\\ud800"]']
    for value in odd:
        for name in known.fields[:40:4] or [""]:
            yield b'{"game":"%s","data":"%s","fields":{"%s":%s}}' % (game.encode(), data.encode(), name.encode(), value)
    for key in (b"name", b"preset", b"images", b"minutes", b"steps"):
        for value in (b'"../../x"', b'"\\ud800"', b'"\\u0000"', b'"a/b"', b'"."', b"1", b"1e12", b"0.001"):
            yield b'{"game":"%s","data":"%s","%s":%s}' % (game.encode(), data.encode(), key, value)
