"""README.md for the Hugging Face Hub: a model card of facts alone, those that the run holds."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from agon.metrics.protocol import shown

CLASSES = 60
PROTOCOL = ("extractor", "extractor_sha256", "weights", "resize", "precision", "seed", "value", "estimator", "error")
"""What the card tells of a number's protocol; metrics.json beside it has all."""


def card(description: dict[str, Any], results: list[dict]) -> str:
    """The text. ``description``: as in config.json; ``results``: of metrics.json."""
    return "\n".join([*(part(description) for part in (_head, _title, _use, _training)), _numbers(description, results), _end(description)])


def without_paths(value: Any) -> Any:
    """Plain JSON with every path of a machine cut to its last part: what is published says nothing of whose machine it was."""
    if isinstance(value, dict):
        return {key: without_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    if not isinstance(value, str):
        return value
    if re.match(r"[A-Za-z]:\\|\\\\", value):
        return PureWindowsPath(value).name
    return PurePosixPath(value).name if re.match(r"~?/|\.\.?/", value) else value


def command(text: str | None) -> str:
    """A command line with the paths of its machine cut."""
    try:
        words = shlex.split(text or "")
    except ValueError:
        return ""
    return shlex.join("=".join(without_paths(part) for part in word.split("=", 1)) if word.startswith("-") else without_paths(word) for word in words)


def _head(description: dict[str, Any]) -> str:
    conditional = bool(description["spec"]["num_classes"]) and "label" in description["inputs"]
    tags = dict.fromkeys(["gan", "agon", description["game"], *(["class-conditional"] if conditional else [])])
    pictures = description["spec"]["kind"] == "image"
    lines = ["license: other", "library_name: agon", *(["pipeline_tag: unconditional-image-generation"] if pictures else []), "tags:"]
    return "\n".join(["---", *lines, *(f"- {json.dumps(tag)}" for tag in tags), "---", ""])


def _title(description: dict[str, Any]) -> str:
    entry, spec = description["paper"], description["spec"]
    shape = " x ".join(map(str, spec["shape"]))
    kind = f"pictures of {shape} (channels, height, width)" if spec["kind"] == "image" else f"points with {shape} coordinates"
    rows = ", one row for each class" if "label" in description["inputs"] and spec["kind"] == "image" else ""
    source = f" after *{entry['paper']}*, {entry['url']}" if entry["url"] else ""
    lines = [
        f"# {description['game']} on {description['data']['name']}", "",
        f"A generative adversarial network that draws {kind}. It was trained with Agon (`agon-gan`) by the game "
        f"`{description['game']}`{source}.", "",
        f"![samples](samples.png)\n\nThe first samples of seed 0{rows}: not chosen.", "",
    ]  # fmt: skip
    if "label" in description["inputs"]:
        names = [f"{number} {name}" for number, name in enumerate(spec["class_names"])] or [f"0 to {spec['num_classes'] - 1}"]
        more = f" and {len(names) - CLASSES} more, in config.json" if len(names) > CLASSES else ""
        lines += [f"Classes: {', '.join(names[:CLASSES])}{more}.", ""]
    return "\n".join(lines)


def _use(description: dict[str, Any]) -> str:
    inputs, spec = description["inputs"], description["spec"]
    extra, notes = "", ["Loading builds the network by Agon's own code and reads numbers only: nothing in this folder is executed."]
    if "label" in inputs:
        extra += f", label=torch.full((16,), {min(1, spec['num_classes'] - 1)})"
        notes.append("`label` is (N,) int64, the class of each sample.")
    if "condition" in inputs:
        extra += f", condition=torch.randn(16, {spec['condition_dim']})"
        notes.append(f"`condition` is (N, {spec['condition_dim']}) float32.")
    if "truncation" in inputs:
        extra += ", truncation=0.7"
        notes.append("`truncation` is 1 (or left out) for samples as trained; smaller values give more typical and less varied ones. Noise is constant.")
    if description["noise_left_out"]:
        notes.append("In Agon the generator also adds random noise when it samples; here there is none, so that a latent has one sample.")
    pictures = spec["kind"] == "image"
    result = f"(16, {', '.join(map(str, spec['shape']))})" + (", float32 in [-1, 1]" if pictures else ", in the data's units")
    save = f'save_samples(samples, "drawn.{"png" if pictures else "csv"}")'
    return f"""## Use

```bash
pip install agon-gan huggingface_hub
```

```python
import torch
from agon.formats.export import load_exported
from agon.media import save_samples
from huggingface_hub import snapshot_download

sampler = load_exported(snapshot_download("USER/NAME"))    # a torch.nn.Module; a path to this folder does too
latent = sampler.draw_latent(16, seed=1)    # (16, {description["latent_dim"]}); {description["latent"]}
with torch.no_grad():
    samples = sampler(latent{extra})
{save}    # {result}
```

{" ".join(notes)}
"""


def _training(description: dict[str, Any]) -> str:
    data, fields = description["data"], description["fields"]
    half_life = fields.get("ema_half_life_images")
    rows = {
        "game": f"`{description['game']}`, preset `{description['preset']}`",
        "paper": " ".join(filter(None, (description["paper"]["paper"], description["paper"]["url"]))),
        "data": f"{data['name']}, {data['num_samples']:,} samples, fingerprint `{shown(data['fingerprint'])}`",
        "length": f"{description['num_images']:,} images seen, in batches of {fields['batch_size']}",
        "weights": f"moving average, half-life {half_life:,} images" if half_life else "of the last step",
        "precision, seed": f"{description['precision']}, {description['seed']}",
        "versions": ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    }
    lines = ["## How it was trained", "", "| | |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in rows.items() if value), ""]
    if description["command"]:
        lines += ["```bash", description["command"], "```", ""]
    return "\n".join([*lines, "All settings are in `config.json`.", ""])


def _numbers(description: dict[str, Any], results: list[dict]) -> str:
    if not results:
        return "## Numbers\n\nNone: `agon evaluate` was not run on this model.\n"
    lines = [
        "## Numbers", "",
        "± is a standard error. *Perfect* is what fresh samples of the training data's own distribution would get under the same protocol. Numbers compare "
        "only where the protocol is the same; the whole of it is in `metrics.json`.", "",
        "| metric | value | perfect | real / generated | after images |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for result in results:
        error = f" ± {result['standard_error']:.2g}" if result.get("standard_error") is not None else ""
        perfect = (result.get("reference") or {}).get("perfect_sampler") or {}
        ideal = f"{perfect['value']:.4g}" if isinstance(perfect.get("value"), int | float) else ""
        counts = f"{result.get('num_real', '')} / {result.get('num_fake', '')}"
        lines.append(f"| {result['metric']} | {result['value']:.4g}{error} | {ideal} | {counts} | {result.get('num_images', description['num_images']):,} |")
    lines += ["", "<details><summary>How each was measured</summary>", "", *(f"* {_protocol(result)}" for result in results), "", "</details>", ""]
    return "\n".join(lines)


def _protocol(result: dict) -> str:
    protocol = result.get("protocol", {})
    said = [f"{name.replace('_', ' ')} {shown(protocol[name])}" for name in PROTOCOL if protocol.get(name) not in (None, "")]
    return f"**{result['metric']}**: {'; '.join(said) or 'see metrics.json'}.{''.join(f' Note: {warning}' for warning in result.get('warnings') or ())}"


def _end(description: dict[str, Any]) -> str:
    return f"""## Limits

It repeats what its training data hold, their gaps and biases included, and can come close to single training samples. Apart from the numbers above
nothing about it was tested.

## Licence

The licence of these weights follows that of the data they were trained on, {description["data"]["name"]}: look it up, then replace `license: other` in the
head of this card and this paragraph. Agon, the code, is under Apache-2.0.
"""


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
