"""A log that is read as it grows says what the same log says when it is read whole, whatever happens to the file meanwhile."""

from __future__ import annotations

import json
import math
import os
import random
import threading

import numpy as np
import pytest

from agon.errors import UserError
from agon.playground.research import files
from agon.playground.research.logs import Log, thin
from agon.report import _onward, _verdicts
from agon.train.lock import LOCK, alone_in, held
from agon.train.logger import Logger, read_log


def record(number: int, **terms: object) -> dict:
    chance = random.Random(number)
    stats = {"discriminator/accuracy": 0.4 + 0.6 * chance.random() * (number % 7 > 2), "diversity": min(1.0, number / 40) * chance.random()}
    plain = {"step": number, "num_images": 64 * number, "seconds": number / 10, "images_per_second": 640.0, "memory_mb": 1.5}
    return {**plain, "terms": {"discriminator/adversarial": chance.random(), "generator/adversarial": chance.random(), **terms}, "stats": stats}


def lines(numbers) -> str:
    return "".join(json.dumps(record(number)) + "\n" for number in numbers)


def append(path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def replace(path, text: str) -> None:
    """As the logger does it: another file takes the name."""
    other = path.with_name("other")
    other.write_text(text, encoding="utf-8")
    os.replace(other, path)


def same(log: Log) -> bool:
    """Whether the columns are those of the records that count."""
    log.read()
    wanted = _onward(read_log(log.path.parent))
    assert len(log) == len(wanted)
    for name, column in log.columns.items():
        group, _, key = name.partition("/")
        values = [float((one.get(group, {}) if key else one).get(key or name, math.nan)) for one in wanted]
        np.testing.assert_array_equal(np.array(column), np.array(values), err_msg=name)
    return True


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "log.jsonl")


def test_a_log_that_is_not_there_is_empty_and_is_found_when_it_comes(log):
    assert same(log) and log.judge() is None and log.part()["at"] == 0
    append(log.path, lines([1, 2]))
    assert same(log) and len(log) == 2


def test_growing_line_by_line_and_byte_by_byte(log):
    for count, letter in enumerate(text := lines(range(1, 5)), 1):
        append(log.path, letter)
        log.read()
        assert len(log) == text[:count].count("\n")  # a line is taken when it is whole
    log.judge()
    assert same(log) and len(log) == 4 and not log.damaged and not log.behind


def test_new_terms_begin_with_gaps_and_old_ones_end_with_them(log):
    append(log.path, lines([1, 2]))
    assert same(log)
    append(log.path, json.dumps({"num_images": 999, "terms": {"new": 3}}) + "\n")
    assert same(log)
    np.testing.assert_array_equal(log.columns["terms/new"], [math.nan, math.nan, 3.0])
    assert math.isnan(log.columns["terms/generator/adversarial"][-1])


def test_values_that_are_not_finite_are_gaps_in_the_answer(log):
    for value in ("NaN", "Infinity", "-Infinity", None, "word", [1], {}):
        append(log.path, json.dumps({**record(len(log) + 1), "terms": {"x": value}}) + "\n")
        log.read()
    append(log.path, '{"num_images": 9999, "terms": {"x": NaN}}\n')
    log.read()
    values = log.part()["columns"]["terms"]["x"]
    assert values == [None] * 8
    assert log.columns["terms/x"][1] == math.inf


def test_damaged_lines_are_counted_and_left_out(log):
    append(log.path, lines([1]) + '{"num_images": 5, "te\n[1]\nnull\n{"num_images": "many"}\n{"step": 2}\n\n' + lines([2]) + "[" * 5000 + "\n" + lines([3]))
    log.read()
    assert list(log.columns["step"]) == [1, 2, 3]
    assert log.damaged == 6


def test_a_rewind_inside_the_file_takes_back_what_was_undone(log):
    append(log.path, lines(range(1, 9)))
    assert same(log)
    before = log.part()
    append(log.path, lines(range(4, 7)))
    assert same(log) and list(log.columns["step"]) == [1, 2, 3, 4, 5, 6]
    after = log.part(before["at"], known=before["stamp"])
    assert after["rewound"] and after["count"] == 6 and len(after["columns"]["step"]) == 6


def test_a_run_that_resumes_replaces_the_file(tmp_path):
    def begin(resume_at=None):
        return Logger(tmp_path, console=False, resume_at=resume_at)

    log, first = Log(tmp_path / "log.jsonl"), begin()
    for number in range(1, 10):
        first.log(record(number))
    first.close()
    assert same(log)
    part = log.part()
    second = begin(resume_at=64 * 5)
    for number in range(6, 30):
        second.log(record(number))
    second.close()
    assert same(log) and len(log) == 29
    assert log.part(part["at"], known=part["stamp"])["rewound"]  # though the file is longer than it was


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_file_that_becomes_shorter_or_another_is_read_anew(log, cut):
    append(log.path, lines(range(1, 6)))
    assert same(log)
    replace(log.path, lines(range(2, 2 + cut)))
    assert same(log)
    with open(log.path, "w", encoding="utf-8") as file:  # in place: the same file, other content
        file.write(lines(range(30, 60)))
    assert same(log) and len(log) == 30


def test_only_what_is_new_is_sent(log):
    append(log.path, lines(range(1, 6)))
    log.read()
    part = log.part()
    assert part["at"] == log.path.stat().st_size and part["columns"]["step"] == [1, 2, 3, 4, 5]
    append(log.path, lines([6, 7]))
    log.read()
    more = log.part(part["at"], known=part["stamp"])
    assert not more["rewound"] and more["columns"]["step"] == [6, 7]
    assert log.part(more["at"], known=part["stamp"])["columns"]["step"] == []
    for strange in (1, more["at"] - 1, more["at"] + 1, 1 << 40):  # an offset that was never sent
        assert log.part(strange)["rewound"] and len(log.part(strange)["columns"]["step"]) == 7
    assert log.part(more["at"], known="another launch")["rewound"]


def test_the_health_is_the_reports(log):
    append(log.path, lines(range(1, 60)))
    log.read()
    log.judge()
    append(log.path, lines(range(60, 130)))
    log.read()
    verdicts = _verdicts(read_log(log.path.parent))
    assert log.judge() == verdicts[-1][1]
    spans = [(images, verdict.state) for index, (images, verdict) in enumerate(verdicts) if index == 0 or verdicts[index - 1][1].state != verdict.state]
    assert log.spans == spans and len(spans) > 2


def test_nothing_is_read_after_the_deadline_and_all_of_it_later(log):
    append(log.path, lines(range(1, 3000)))
    log.read(deadline=0)
    assert len(log) == 0 and log.behind
    log.judge(deadline=0)
    log.read()
    assert log.behind  # there is something to be judged
    log.judge()
    assert same(log) and not log.behind


def test_a_line_without_end_costs_no_memory_and_is_passed_over(log, monkeypatch):
    monkeypatch.setattr("agon.playground.research.logs.CHUNK", 1000)
    append(log.path, lines([1]) + "x" * 3500)
    log.read()
    append(log.path, "\n" + lines([2]))
    log.read()
    assert list(log.columns["step"]) == [1, 2] and log.damaged


def test_only_so_many_columns_are_kept(log):
    append(log.path, json.dumps({"num_images": 1, "terms": {f"t{i}": i for i in range(5000)}, "stats": {"n" * 500: 1}}) + "\n")
    log.read()
    assert len(log.columns) == 200 and "stats/" + "n" * 500 not in log.columns


# ---- thinning -------------------------------------------------------------------------------------------------------


def columns_of(n: int) -> dict[str, np.ndarray]:
    x = np.arange(n, dtype=float)
    return {"num_images": x * 10, "step": x, "seconds": x / 7, "terms/a": np.sin(x / 50), "terms/b": np.full(n, 2.0)}


@pytest.mark.parametrize("n", [1, 29, 30, 31, 100, 1000, 99_991])
@pytest.mark.parametrize("most", [10, 30, 1000])
def test_thinned_columns_are_few_of_the_same_length_and_in_order(n, most):
    thinned = thin(columns_of(n), most)
    sizes = {len(values) for values in thinned.values()}
    assert len(sizes) == 1 and 0 < sizes.pop() <= max(most, 1)
    assert thinned["step"] == sorted(thinned["step"]) and thinned["step"][0] == 0 and thinned["step"][-1] == n - 1 or n > most


@pytest.mark.parametrize("at", [0, 1, 777, 50_000, 99_998, 99_999])
@pytest.mark.parametrize("spike", [1e6, -1e6])
def test_no_spike_is_lost(at, spike):
    columns = columns_of(100_000)
    columns["terms/a"][at] = spike
    thinned = thin(columns, 1000)
    place = thinned["terms/a"].index(spike)
    assert abs(thinned["step"][place] - at) <= 100_000 / (1000 // 3) + 1
    assert max(thinned["terms/b"]) == min(thinned["terms/b"]) == 2.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_gap_is_lost_and_the_values_around_it_stay(value):
    columns = columns_of(100_000)
    columns["terms/a"][4321] = value
    thinned = thin(columns, 1000)
    assert thinned["terms/a"].count(None) == 1 and None not in thinned["terms/b"] and len(set(map(len, thinned.values()))) == 1
    columns["terms/a"][:] = value
    assert set(thin(columns, 1000)["terms/a"]) == {None}


# ---- small files and the lock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "[" * 100_000, "\udcff\udcfe", "null trailing", '"\\ud800"', "{}" * 3, "1e999", '{"a": NaN}'])
def test_any_file_is_content_or_a_sentence(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    value, problem = files.read_json(path)
    assert bool(problem) == (value is None) or value is None
    json.dumps(value, allow_nan=False).encode()
    assert not problem or problem.startswith("config.json cannot be read: ")


def test_no_file_is_no_problem_and_a_folder_of_that_name_is_one(tmp_path):
    assert files.read_json(tmp_path / "config.json") == (None, "")
    (tmp_path / "metrics.json").mkdir()
    assert "it is no file" in files.read_json(tmp_path / "metrics.json")[1]


def test_a_picture_behind_a_link_or_of_another_kind_is_not_handed_out(tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside.png"
    run.mkdir()
    outside.write_bytes(files.PNG + b"secret")
    (run / "link.png").symlink_to(outside)
    (run / "text.png").write_text("secret")
    (run / "good.png").write_bytes(files.PNG)
    assert files.picture(run / "good.png", run) == files.PNG
    assert files.picture(run / "link.png", run) is None and files.picture(run / "text.png", run) is None and files.picture(run / "none.png", run) is None


def test_a_lock_is_seen_while_it_is_held(tmp_path):
    assert not held(tmp_path)
    with alone_in(tmp_path):
        assert held(tmp_path) and held(tmp_path)
    assert not held(tmp_path)
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    assert not held(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="flock")
def test_no_training_is_turned_away_by_who_looks(tmp_path, monkeypatch):
    import fcntl

    (tmp_path / LOCK).touch()
    look = open(tmp_path / LOCK, "rb")  # noqa: SIM115 (closed in the middle of the wait)
    fcntl.flock(look, fcntl.LOCK_SH)  # as held() has it, for a moment
    monkeypatch.setattr("agon.train.lock.PATIENCE_SECONDS", 0.0)
    with pytest.raises(UserError, match="by another process"), alone_in(tmp_path):
        pass
    monkeypatch.setattr("agon.train.lock.PATIENCE_SECONDS", 60.0)
    leaving = threading.Timer(0.1, look.close)
    leaving.start()
    with alone_in(tmp_path):  # it waits, and gets in
        assert held(tmp_path)
    leaving.join()
