"""Train translators on `shapes`, translate held-out shapes and let the shipped judge of shapes read what came out. One row for each run.

    python benchmarks/quality/translation.py cyclegan    red <-> blue, unpaired, both directions, 3 seeds
    python benchmarks/quality/translation.py cut         red -> blue, unpaired, one direction, 3 seeds
    python benchmarks/quality/translation.py stargan     any of four colours to any other, 3 seeds
    python benchmarks/quality/translation.py pix2pix     segmentation -> shapes and edges -> shapes at 64x64, 3 seeds
    python benchmarks/quality/translation.py spade       segmentation -> shapes at 64x64, 3 seeds

Each training is a process of its own with one thread, by the game's own preset for such pictures, and ends at --budget CPU-seconds at the latest (900). Numbers
are fractions of 500 pictures of another data seed. Between domains: how often the wanted colour is read from the result, and how often each other factor is the
one that the input was drawn with. From maps and edges: the mean intersection over union of what the judge segments in the result with the truth, over the seven
classes, and the fraction of pixels. ``reference`` is what the judge reads from real pictures: nothing can be expected to do better. Runs already in
benchmarks/results/translation.json are not repeated (--again). Contact sheets of seed 0 go to docs/images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from measure import IMAGES, RESULTS, ROOT, machine, rows_in

PATH = RESULTS / "translation.json"
SEEDS, HELD_OUT, HELD_OUT_SEED, CHUNK = 3, 500, 1000, 50
RED_TO_BLUE = {"only": "colour=blue", "input": "shapes", "input_only": "colour=red", "paired": False}
FOUR = "colour=red,yellow,green,blue"
PLAN = {
    "cyclegan": {"red and blue": RED_TO_BLUE},
    "cut": {"red to blue": RED_TO_BLUE},
    "stargan": {"four colours": {"label": "colour", "only": FOUR}},
    "pix2pix": {"segmentation to shapes": {"size": 64, "input": "segmentation"}, "edges to shapes": {"size": 64, "input": "edges"}},
    "spade": {"segmentation to shapes": {"size": 64, "input": "segmentation"}},
}
"""Game -> setting -> options of the data set `shapes`."""
FACTORS = ("shape", "colour", "background", "position", "scale")


def work(task: dict) -> dict:
    """Train until the end or the budget, then judge."""
    import torch

    torch.set_num_threads(1)
    from agon import catalog
    from agon.config import build
    from agon.data import open_dataset
    from agon.train.randomness import mix
    from agon.train.trainer import Trainer

    source, cls = open_dataset("shapes", **task["options"]), catalog.load(task["game"])
    preset = task["preset"] or cls.preset_for(source.spec)
    config = build(cls.Config, cls.presets[preset].fields, {**task["fields"], "seed": task["seed"]})
    torch.manual_seed(mix(config.seed))
    trainer = Trainer(cls(config, source.spec), source, device="cpu")
    start = time.process_time()
    while trainer.num_images < config.images and time.process_time() - start < task["budget"]:
        trainer.advance()
    seconds = time.process_time() - start
    with trainer.averaged() as game:
        measured = between_domains(game, task) if cls.pairs is False else from_inputs(game, task)
    return {
        **task, "preset": preset, "cpu_seconds": round(seconds, 1), "images": trainer.num_images, "of_images": config.images, "precision": trainer.precision,
        "held_out": HELD_OUT, "data_seed": HELD_OUT_SEED, "command": f"python benchmarks/quality/translation.py {task['game']}", "measured": measured,
    }  # fmt: skip


def translated(game, inputs, **wanted):
    """The game's results, a chunk at a time."""
    import torch

    def part(start: int):
        chosen = {name: value[start : start + CHUNK] if isinstance(value, torch.Tensor) else value for name, value in wanted.items()}
        return game.translate(inputs[start : start + CHUNK], **chosen).cpu()

    return torch.cat([part(start) for start in range(0, len(inputs), CHUNK)])


def held_out(**options):
    """(pictures, their factors as levels) of shapes that no training has seen."""
    import numpy as np

    from agon.data import open_dataset
    from agon.data.shapes import level_columns

    source = open_dataset("shapes", length=HELD_OUT, seed=HELD_OUT_SEED, **options)
    indices = np.arange(HELD_OUT)
    return source.read(indices).real, level_columns(source.factors(indices))


def between_domains(game, task: dict) -> list[dict]:
    """Every direction that the game has; the wanted colour is the target's, or one of the others at random."""
    import torch

    from agon.data.shapes import COLOURS

    options = task["options"]
    if "input" not in options:
        pictures, truth = held_out(only=options["only"])
        levels = torch.tensor([list(COLOURS).index(name) for name in game.spec.class_names])
        own = torch.searchsorted(levels, torch.from_numpy(truth["colour"]))
        wanted = (own + torch.randint(1, len(levels), (HELD_OUT,), generator=torch.Generator().manual_seed(0))) % len(levels)
        return [judged(task, "to another colour", pictures, translated(game, pictures, label=wanted), truth, levels[wanted])]
    rows = []
    for direction in game.directions:
        ends = (options["input_only"], options["only"])
        before, after = ends if direction == "forward" else ends[::-1]
        pictures, truth = held_out(only=before)
        wanted = torch.full((HELD_OUT,), list(COLOURS).index(after.removeprefix("colour=")))
        given = {"direction": direction} if len(game.directions) > 1 else {}
        rows.append(judged(task, f"{before} to {after}".replace("colour=", ""), pictures, translated(game, pictures, **given), truth, wanted))
    return rows


def judged(task: dict, name: str, pictures, made, truth: dict, wanted) -> dict:
    """What the judge reads from results, and, as a reference, from the pictures that they were made of."""
    import torch

    from agon.metrics.features import shapes

    def fractions(read: dict, colour) -> dict[str, float]:
        expected = {**{key: torch.from_numpy(truth[key]) for key in FACTORS}, "colour": colour}
        right = {key: read[key] == expected[key] for key in FACTORS}
        others = torch.stack([right[key] for key in FACTORS if key != "colour"])
        return {**{key: float(right[key].float().mean()) for key in FACTORS}, "others_mean": float(others.float().mean()),
                "all_at_once": float((others.all(0) & right["colour"]).float().mean())}  # fmt: skip

    sheet(task, name, [pictures, made])
    values, reference = fractions(shapes.factors(made), wanted), fractions(shapes.factors(pictures), torch.from_numpy(truth["colour"]))
    return {"direction": name, "values": rounded(values), "reference": rounded(reference)}


def from_inputs(game, task: dict) -> list[dict]:
    """Segmentation of results against the truth."""
    import numpy as np
    import torch

    from agon.data import open_dataset
    from agon.metrics.features import shapes

    source = open_dataset("shapes", **{**task["options"], "length": HELD_OUT, "seed": HELD_OUT_SEED})
    indices = np.arange(HELD_OUT)
    batch, truth = source.read(indices), torch.from_numpy(source.target.segmentation(indices))[:, 0].long()
    made = translated(game, batch.source)
    sheet(task, task["setting"], [batch.source, made, batch.real], source.spec)

    def values(pictures) -> dict[str, float]:
        named = shapes.segment(pictures)
        table = torch.bincount((truth * shapes.CLASSES + named).flatten(), minlength=shapes.CLASSES**2).reshape(shapes.CLASSES, -1).double()
        overlap = table.diag() / (table.sum(0) + table.sum(1) - table.diag())
        return {"miou": float(overlap.mean()), "pixels": float(table.diag().sum() / table.sum())}

    return [{"direction": task["setting"], "values": rounded(values(made)), "reference": rounded(values(batch.real))}]


def sheet(task: dict, name: str, columns: list, spec=None) -> None:
    """The contact sheet of seed 0: input, result (and target), 24 samples."""
    from agon.media import save_image
    from agon.translation.view import contact_sheet, visible

    if task["seed"] == 0:
        shown = [visible(columns[0][:24], spec) if spec else columns[0][:24], *(column[:24] for column in columns[1:])]
        save_image(contact_sheet(shown, groups=4), IMAGES / f"{task['game']}-{name.replace(' ', '-')}.png", overwrite=True)


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in values.items()}


def summary(rows: list[dict]) -> list[dict]:
    """Median, least and most over seeds, for every game, setting and direction."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        for each in row["measured"]:
            groups.setdefault((row["game"], row["setting"], each["direction"]), []).append({**each["values"], "cpu_seconds": row["cpu_seconds"]})
    names = ("game", "setting", "direction")
    return [{**dict(zip(names, key, strict=True)), "seeds": len(found),
             "values": {name: {"median": statistics.median(v[name] for v in found), "least": min(v[name] for v in found), "most": max(v[name] for v in found)}
                        for name in found[0]}} for key, found in groups.items()]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game", choices=(*PLAN, "summary"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--budget", type=float, default=900, help="CPU-seconds of a training at most")
    parser.add_argument("--preset", default="", help="by default the first that fits")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help="repeat runs that are in the file")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(work(json.loads(options.task))))
        return
    for seed in range(options.seeds if options.game in PLAN else 0):
        for setting, data in PLAN[options.game].items():
            task = {"game": options.game, "setting": setting, "seed": seed, "data": "shapes", "options": data, "preset": options.preset, "fields": {}}
            run({**task, "budget": options.budget}, options.again)
    for row in summary(rows_in(PATH)):
        print(json.dumps(row))


def run(task: dict, again: bool) -> None:
    """One training in a process of its own, unless the file has it."""
    same = ("game", "setting", "seed", "budget")
    if not again and any(all(row[key] == task[key] for key in same) for row in rows_in(PATH)):
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-W", "ignore", __file__, task["game"], "--task", json.dumps(task)]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    if finished.returncode:
        sys.exit(f"{task}: {finished.stderr[-2000:]}")
    done = json.loads(finished.stdout.splitlines()[-1])
    print(json.dumps({key: done[key] for key in ("game", "setting", "seed", "cpu_seconds", "images", "measured")}), flush=True)
    keep(done)


def keep(done: dict) -> None:
    """Put a row into the file beside those that are there by now (another process may be at it, too), and the summary anew."""
    rows = [row for row in rows_in(PATH) if any(row[key] != done[key] for key in ("game", "setting", "seed"))] + [done]
    rows.sort(key=lambda row: (list(PLAN).index(row["game"]), row["setting"], row["seed"]))
    whole = {"machine": machine(), "command": "python benchmarks/quality/translation.py GAME", "summary": summary(rows), "results": rows}
    PATH.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
