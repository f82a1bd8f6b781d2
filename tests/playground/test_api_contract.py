"""Every operation that the server describes keeps to its description, whatever it is sent: some of the requests of benchmarks/playground/security.py."""

from __future__ import annotations

import json

import pytest
from fuzzing import Fuzzer, Known
from serving import serving

from agon.playground.desk import Desk


@pytest.fixture(scope="module")
def with_runs(small_runs):
    with serving(Desk(small_runs, most_trainings=0)) as served:
        yield served


def test_nothing_that_is_asked_makes_the_server_fail(with_runs):
    def ask(path):
        return json.loads(with_runs.ask(path).body)

    before = sorted(path.name for path in with_runs.desk.root.iterdir())
    fuzzer = Fuzzer(f"http://127.0.0.1:{with_runs.port}", with_runs.token, Known.of(ask), number=6, start=1, by_hand=10)
    document = ask("/openapi.json")
    report = fuzzer.run(document)
    assert not report.faults, "\n".join(report.faults[:5])
    assert not report.surprises, report.surprises.most_common(5)
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert set(report.operations) == described
    assert report.cases >= 300 and report.statuses[200] >= 50 and report.statuses[422] >= 50, report.statuses
    assert sorted(path.name for path in with_runs.desk.root.iterdir()) == before, "no training was started"


def test_every_operation_is_typed_and_says_how_it_refuses(with_runs):
    document = json.loads(with_runs.ask("/openapi.json").body)
    problem = {"error": {"title": "Error", "type": "string"}}
    assert document["components"]["schemas"]["Problem"]["properties"] == problem
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            refused = set(operation["responses"]) - {"200", "201", "202", "304"}
            assert {"400", "401", "403", "404", "413", "422", "429"} <= refused, (method, path)
            for each in operation.get("parameters", []):
                kinds = each["schema"].get("anyOf", [each["schema"]])
                assert all(bounded(kind) for kind in kinds), (method, path, each["name"])


def bounded(kind: dict) -> bool:
    """Whether a parameter's text has a longest, and its number a largest and a smallest."""
    if kind.get("type") == "string":
        return "maxLength" in kind or "enum" in kind or "const" in kind
    if kind.get("type") in ("integer", "number"):
        return {"maximum", "exclusiveMaximum"} & set(kind) and {"minimum", "exclusiveMinimum"} & set(kind)
    return kind.get("type") in ("boolean", "null") or "$ref" in kind


def test_every_refusal_is_json_with_a_text(with_runs):
    for reply in (
        with_runs.ask("/api/nothing"), with_runs.ask("/api/about", method="PATCH"), with_runs.ask("/api/about", token=False), with_runs.ask("/api/jobs/none"),
        with_runs.post("/api/research/check", {}), with_runs.post("/api/sample", {"run": "none"}), with_runs.ask("/api/about", "Origin: http://evil.example"),
    ):  # fmt: skip
        assert 400 <= reply.status < 500 and reply.headers["content-type"] == "application/json"
        assert list(json.loads(reply.body)) == ["error"] and len(reply.error) > 8


ODD = [b'{"\\ud800":1}', b'{"game":"\\ud800","data":"x"}', b'{"game":"gan","data":"x","fields":{"\\udfff":"\\udfff"}}', b"[" * 200_000,
       b'{"n":' + b"9" * 9000 + b"}", b"\xff\xfe\x00", b'{"game":"gan\\u0000","data":"\\u0000"}']  # fmt: skip


@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("path", ["/api/research/check", "/api/research/trainings", "/api/sample", "/api/create/cells"])
def test_texts_that_are_no_texts_are_refused(with_runs, path, body):
    """Half of a pair of surrogates can be received as JSON, and cannot be sent."""
    reply = with_runs.ask(path, "Content-Type: application/json", method="POST", body=body)
    assert reply.status in (200 if path.endswith("check") else 422, 400, 404, 422) and json.loads(reply.body)
