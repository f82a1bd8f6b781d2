"""What is in a folder or ZIP of pictures, what is wrong with which file, and what training would do with it: no torch here.

Every picture is decoded once, because only that finds a file that is cut off.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from agon.data.files import Item, classes_of, folder_or_zip, listing_of, refuse_empty, refuse_splits
from agon.data.pictures import BadPicture, decode
from agon.data.scan import Scan, allowed_bad, plan_channels, plan_size, resizing, scan, working_in_threads
from agon.errors import UserError
from agon.locale import translate


def check(path: str | Path, *, size: tuple[int, int] | None = None, channels: int | None = None, max_bad: float = 0.1) -> dict[str, Any]:
    """A JSON-able report; keys as in the code below. ``stop``: why training would stop, "" where it would not (then ``usable``).

    Raises UserError where there is no such folder or ZIP, and where it holds no picture at all.
    """
    found = folder_or_zip(path)
    if found is None:
        raise UserError("There is no folder or .zip {path}. Expected a folder of pictures, or a ZIP of one.", path=path)
    with listing_of(found) as listing:
        refuse_empty(listing)
        scanned = scan(listing)
        # From all headers, as opening a data set does, which has decoded nothing yet when it decides.
        target, depth = (plan_size(scanned, size), channels or plan_channels(scanned)) if scanned.headers else (None, None)
        scanned = without_undecodable(listing.items, scanned)
    names = list(scanned.headers)
    classes, labels, remark = classes_of(names) if names else ((), None, "")
    report: dict[str, Any] = {
        "path": str(found), "pictures": len(names), "bad": [{"file": file, "why": why} for file, why in sorted(scanned.bad)],
        "classes": {name: labels.count(index) for index, name in enumerate(classes)} if labels is not None else {},
        "sizes": _counted(f"{header.width}x{header.height}" for header in scanned.headers.values()),
        "modes": _counted(header.mode for header in scanned.headers.values()),
        "formats": _counted(header.format for header in scanned.headers.values()),
        "other_files": dict(listing.ignored.most_common()), "remarks": [remark] if remark else [],
        "allowed_bad": allowed_bad(len(names), len(scanned.bad), max_bad), "will": None,
    }
    if names:
        events = resizing(list(scanned.headers.values()), target, size)
        report["will"] = {"height": target[0], "width": target[1], "channels": depth,
                          "resized": events[0]["pictures"] if events else 0, "enlarged": events[0]["enlarged"] if events else 0,
                          "how": events[0]["how"] if events else "pixels are kept as they are"}
    report["stop"] = why_stop(found, [item.name for item in listing.items], report)
    report["usable"] = not report["stop"]
    return report


def check_pairs(path: str | Path, given: str, **options: Any) -> dict[str, Any]:
    """Like :func:`check`, of pictures with what translators start from: ``pairs``, their forms, and who was left out. Here torch is imported."""
    from agon.data import open_dataset

    bound = options.pop("max_bad", 0.1)
    source = open_dataset(path, input=given, max_bad=1.0, **options)
    left_out = [{"file": event["file"], "why": event["why"]} for event in source.events if event.get("event") == "skipped"]
    allowed, spec = allowed_bad(len(source), len(left_out), bound), source.spec
    stop = "" if len(left_out) <= allowed else _line("{bad} files are left out, {allowed} are put up with", bad=len(left_out), allowed=allowed)
    return {
        "path": str(path), "input": given, "pairs": len(source), "paired": spec.paired, "shape": list(spec.shape), "kind": spec.source_kind,
        "input_shape": list(spec.source_shape), "classes": list(spec.source_classes), "left_out": left_out, "stop": stop, "usable": not stop,
    }  # fmt: skip


def pairs_as_text(report: dict[str, Any]) -> str:
    """The report of :func:`check_pairs` for people."""
    (_, high, wide), (depth, height, width) = report["shape"], report["input_shape"]
    what = "{pairs} pairs" if report["paired"] else "{pairs} samples, unpaired"
    lines = [f"{report['path']}: " + _line(what, pairs=report["pairs"])]
    lines.append("  " + _line("pictures {wide}x{high} (width x height) from inputs {width}x{height}, {channels} channels, kind: {kind}", wide=wide, high=high,
                              width=width, height=height, channels=depth, kind=report["kind"]))
    if report["classes"]:
        lines.append(f"  {translate('classes')}: {', '.join(report['classes'])}")
    lines += ["  " + _line("left out: {file} {why}", **entry) for entry in report["left_out"]]
    if report["stop"]:
        lines.append("  " + _line("training would stop: {why}", why=report["stop"]))
    return "\n".join(lines)


def why_stop(path: Path, names: list[str], report: dict[str, Any]) -> str:
    """The reason for which training would refuse this folder, "" if it would not."""
    if not report["pictures"]:
        return _line("no picture can be read")
    if len(report["bad"]) > report["allowed_bad"]:
        return _line("{bad} bad files, {allowed} are put up with", bad=len(report["bad"]), allowed=report["allowed_bad"])
    try:
        refuse_splits(path, names)
    except UserError as error:
        return str(error)
    return ""


def without_undecodable(items: list[Item], scanned: Scan) -> Scan:
    """The same scan with every picture that does not decode moved to the bad ones."""
    def problem(item: Item) -> str | None:
        try:
            decode(item.read(), 3)
        except (BadPicture, OSError) as error:
            return str(error)
        return None

    good = [item for item in items if item.name in scanned.headers]
    for chunk, results in working_in_threads(problem, good, "decoding"):
        for item, why in zip(chunk, results, strict=True):
            if why is not None:
                del scanned.headers[item.name]
                scanned.bad.append((item.name, why))
    return scanned


def _counted(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [_line("{path}: {pictures} pictures, {bad} bad", path=report["path"], pictures=report["pictures"], bad=len(report["bad"]))]
    for title, key in (("classes", "classes"), ("sizes (width x height)", "sizes"), ("modes", "modes"), ("formats", "formats"),
                       ("other files", "other_files")):
        if report[key]:
            lines.append(f"  {translate(title)}: {_table(report[key])}")
    if not report["classes"] and report["pictures"]:
        lines.append("  " + _line("no classes: the pictures are unlabelled"))
    lines += [f"  {remark}" for remark in report["remarks"]]
    lines += ["  " + _line("bad: {file} {why}", **entry) for entry in report["bad"]]
    will = report["will"]
    if will:
        lines.append("  " + _line("training would use --data.size {height}x{width} (height x width), {channels} channels; {resized} pictures would be resized "
                                  "({enlarged} of them enlarged): {how}", **{**will, "how": translate(will["how"])}))
    if report["stop"]:
        lines.append("  " + _line("training would stop: {why}", why=report["stop"]))
    return "\n".join(lines)


def _line(template: str, **values: object) -> str:
    return translate(template).format(**values)


def _table(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:12]]
    return ", ".join(shown) + (f", ... {len(counts) - 12} more" if len(counts) > 12 else "")
