"""Configurations: what is accepted, what is refused in which words, and that JSON brings everything back."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agon import catalog
from agon.config import OptimizerConfig, TrainConfig, build, field_docs, field_names, fields, flatten, nearest, parse_count, to_dict
from agon.data.pairs import open_pairs
from agon.data.source import ArraySource, DataSpec
from agon.errors import UserError
from agon.two_player import TwoPlayerConfig

GAMES = list(catalog.games())


@dataclass(frozen=True, kw_only=True)
class Small(TrainConfig):
    """A configuration with a field of every type."""

    images: int = 500
    word: str = "none"
    """A word that may well be none."""
    way: Literal["none", "left", "right"] = "none"
    fraction: float | None = None
    """A number or nothing."""
    widths: tuple[int, ...] = (3, 4)
    optimizer: OptimizerConfig = OptimizerConfig(lr=0.25)


# --- round trips ----------------------------------------------------------------------------------------------------------------------

RANGES = {
    "lr": st.floats(1e-9, 10), "beta1": st.floats(0, 0.999), "beta2": st.floats(0, 0.999), "decay_start": st.floats(0, 0.99),
    "label_smoothing": st.floats(0, 0.99),
    "instance_noise_until": st.floats(0.01, 1), "top_k": st.floats(0.01, 1), "keep_checkpoints": st.integers(2, 9), "halve_every_images": st.integers(1, 10**9),
    "diffaugment": st.sampled_from(["", "color", "cutout,translation"]), "base_size": st.integers(2, 9), "beta2_final": st.none() | st.floats(0, 0.999),
    "discriminator_lr": st.none() | st.floats(1e-9, 1), "fourier_scale": st.floats(0.01, 9), "latent_width": st.floats(0.01, 9),
    "metrics": st.lists(st.sampled_from(["fid_digits", "kid", "coverage"]), max_size=3).map(tuple),
    "penalty_weight_final": st.none() | st.floats(1e-6, 9), "ada": st.sampled_from(["", "bgc", "blit,noise"]), "latent_components": st.just(0),
    **dict.fromkeys(("ada_target", "ada_p", "apa_target", "lecam_decay", "mixing", "style_mixing", "w_decay", "w_avg_decay"), st.floats(0, 0.99)),
    **dict.fromkeys(("latent_damping", "mapping_lr", "magnitude_images", "blur_fade_images", "output_scale", "norm_eps"), st.floats(0.01, 1)),
    "path_length_decay": st.floats(0.01, 1),
}  # fmt: skip


def values(name, kind):
    """Values that a field accepts."""
    if name.split(".")[-1] in RANGES:
        return RANGES[name.split(".")[-1]]
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        return st.lists(st.integers(1, 4096), max_size=4).map(tuple)
    if type(None) in get_args(kind):
        return st.none() | values(name, next(k for k in get_args(kind) if k is not type(None)))
    return {bool: st.booleans(), int: st.integers(1, 10**9), float: st.floats(0, 1e6), str: st.text(max_size=5)}[kind]


@st.composite
def overrides(draw, cls):
    leaves = {name: values(name, kind) for name, kind, _, _ in fields(cls)}
    chosen = draw(st.lists(st.sampled_from(sorted(leaves)), unique=True, max_size=8))
    found = {name: draw(leaves[name]) for name in chosen if name != "best_metric"}  # which must be one of metrics
    if found.get("optimizer.schedule") == "halving":
        found["optimizer.halve_every_images"] = draw(leaves["optimizer.halve_every_images"])
    if found.get("optimizer.schedule") == "geometric":
        found["optimizer.lr_final"] = draw(st.floats(1e-6, 1))
    if found.get("optimizer.name") in ("rmsprop", "sgd"):
        found["optimizer.beta2_final"] = None
    try:
        build(cls, found)
    except UserError:  # fields of some games bound one another
        assume(False)
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_json_brings_back_every_field(data):
    cls = catalog.load(data.draw(st.sampled_from(GAMES))).Config
    given_values = data.draw(overrides(cls))
    config = build(cls, given_values)
    flat = flatten(to_dict(config))
    assert list(flat) == field_names(cls)
    assert all(flat[name] == value for name, value in given_values.items())
    assert build(cls, json.loads(json.dumps(to_dict(config)))) == config


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_command_line_can_say_every_value(data):
    """As words: tuples with commas, none for nothing, true and false."""
    cls = catalog.load(data.draw(st.sampled_from(GAMES))).Config
    given_values = data.draw(overrides(cls))

    def word(value):
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)

    assert build(cls, {name: word(value) for name, value in given_values.items()}) == build(cls, given_values)


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("widths", "64,32", (64, 32)), ("widths", "64, 32", (64, 32)), ("widths", "[64, 32]", (64, 32)), ("widths", "(64, 32)", (64, 32)),
        ("widths", "64 32", (64, 32)),
        ("widths", "64", (64,)), ("widths", "", ()), ("fraction", "none", None), ("fraction", "None", None), ("fraction", "null", None),
        ("fraction", "1e-4", 1e-4),
        ("word", "none", "none"), ("way", "none", "none"), ("way", "left", "left"), ("images", "200k", 200_000),
        ("images", "1e6", 1_000_000), ("images", "1_000", 1000),
        ("compile", "true", True), ("compile", "False", False), ("channels_last", "0", False), ("optimizer.lr", "2e-3", 2e-3),
        ("optimizer.beta2_final", "none", None),
        ("optimizer.warmup_images", "5k", 5000),
    ],
)  # fmt: skip
def test_words_of_the_command_line(name, text, value):
    found = flatten(to_dict(build(Small, {name: text})))[name]
    assert found == value and type(found) is type(value)


# --- layers and names -----------------------------------------------------------------------------------------------------------------


def test_later_layers_win_and_groups_may_be_nested_or_dotted():
    config = build(Small, {"optimizer": {"lr": 1.0, "beta1": 0.1}, "seed": 3}, {"optimizer.lr": 2.0}, {})
    assert (config.optimizer.lr, config.optimizer.beta1, config.seed) == (2.0, 0.1, 3)
    assert config.optimizer.beta2 == OptimizerConfig().beta2 and config.images == 500
    assert build(Small) == Small()


def test_a_configuration_cannot_be_changed_behind_its_validation():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Small().images = 3


@pytest.mark.parametrize(
    "wrong, near",
    [("optimizer.beta_1", "optimizer.beta1"), ("optimiser.lr", "optimizer.lr"), ("bach_size", "batch_size"), ("presicion", "precision"), ("width", "widths")],
)
def test_an_unknown_field_is_named_with_the_nearest(wrong, near):
    with pytest.raises(UserError, match=f"no field '{wrong}'. Did you mean '{near}'"):
        build(Small, {wrong: 1})


def test_a_group_is_no_field_of_its_own():
    with pytest.raises(UserError, match="no field 'optimizer'"):
        build(Small, {"optimizer": 1})


def test_nearest():
    assert nearest("sgan", ["gan", "sngan", "dcgan"]) in ("gan", "sngan")
    assert nearest("zzz", ["a", "b"]) in ("a", "b") and nearest("a", []) == ""


@pytest.mark.parametrize(
    "name, value",
    [
        ("images", "many"), ("images", 1.5), ("images", None), ("images", [3]), ("batch_size", "12.5"), ("optimizer.lr", "fast"),
        ("optimizer.lr", "nan"), ("optimizer.lr", "inf"),
        ("way", "up"), ("way", "None"), ("precision", "fp64"), ("compile", "perhaps"), ("widths", "64,wide"), ("widths", 64),
        ("fraction", "half"), ("word", 3), ("optimizer.name", "lion"),
        ("optimizer.beta1", "none"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused_by_name_in_one_line(name, value):
    with pytest.raises(UserError) as error:
        build(Small, {name: value})
    message = str(error.value)
    assert f"'{name.split('.')[-1]}" in message or f"'{name}" in message
    assert "\n" not in message and "Expected" in message


OUT_OF_RANGE = [
    ("images", 0), ("batch_size", 0), ("batch_size", -4), ("micro_batch_size", -1), ("clip_grad_norm", -1), ("ema_half_life_images", -1),
    ("ema_rampup", -0.1), ("ema_every", 0),
    ("log_every", 0), ("sample_every_images", -1), ("checkpoint_every_images", -1), ("keep_checkpoints", 1), ("rollbacks", -1),
    ("optimizer.lr", 0), ("optimizer.lr", -1e-3),
    ("optimizer.beta1", 1), ("optimizer.beta1", -0.1), ("optimizer.beta2", 1), ("optimizer.beta2_final", 1.5), ("optimizer.eps", -1e-8),
    ("optimizer.weight_decay", -1),
    ("optimizer.decay_start", 1), ("optimizer.lr_final", -1), ("optimizer.warmup_images", -1), ("optimizer.schedule", "halving"),
    ("latent_dim", 0), ("latent_components", -1), ("latent_width", 0), ("optimizer.schedule", "geometric"), ("penalty_weight_final", 0), ("width", 0),
    ("discriminator_width", -1), ("base_size", 1), ("blocks", 0), ("group_width", 0), ("expansion", 0), ("embedding_dim", 0),
    ("generator_hidden", (64, 0)), ("discriminator_hidden", (-1,)),
    ("fourier_features", -1), ("minibatch_discrimination", -1), ("num_critic", 0), ("label_smoothing", 1), ("label_smoothing", -0.1),
    ("instance_noise", -1), ("instance_noise_until", 0),
    ("instance_noise_until", 1.1), ("penalty_weight", -1), ("penalty_weight_final", -1), ("penalty_every", 0), ("weight_clip", -0.01),
    ("top_k", 0), ("top_k", 1.1), ("discriminator_lr", 0),
]  # fmt: skip


@pytest.mark.parametrize("name, value", OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_with_what_was_expected(name, value):
    with pytest.raises(UserError) as error:
        build(TwoPlayerConfig, {name: value})
    expected = {"halving": "halve_every_images", "geometric": "lr_final"}.get(value, name.split(".")[-1])
    assert f"'{expected}' is out of range. Expected" in str(error.value)
    with pytest.raises(UserError):  # and in Python just as well
        OptimizerConfig(**{name.partition(".")[2]: value}) if "." in name else TwoPlayerConfig(**{name: value})


def test_an_augmentation_that_is_not_there():
    with pytest.raises(UserError, match="'colour'"):
        build(TwoPlayerConfig, {"diffaugment": "colour"})


# --- counts ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, count",
    [("20000", 20_000), ("200k", 200_000), ("1.5M", 1_500_000), ("0.5k", 500), ("25m", 25_000_000), ("2G", 2 * 10**9), (" 1_000 ", 1000),
    ("1,000", 1000), (7, 7), ("1e3", 1000), ("-5", -5)],
)
def test_counts(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "k", "many", "1.5", "0.0001k", "1kk", "nan", "inf", "1e999", "0x10", "5 5k5"])
def test_what_is_no_count(text):
    with pytest.raises(UserError, match="200k"):
        parse_count(text)


# --- every game -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
def test_every_field_of_every_game_has_a_help_string(game):
    for name, _, _, text in fields(catalog.load(game).Config):
        assert len(text) > 10 and "\n" not in text, name


def test_docs_of_a_field_are_inherited_and_replaced():
    docs = field_docs(Small)
    assert docs["fraction"] == "A number or nothing." and docs["images"] == field_docs(TrainConfig)["images"]
    assert "way" not in docs


SIDES = {
    ("r3gan", "cifar10"): 32, ("r3gan", "cifar10_conditional"): 32, ("r3gan", "imagenet32"): 32, ("r3gan", "ffhq64"): 64, ("r3gan", "imagenet64"): 64,
    ("r3gan", "ffhq256"): 256, ("transgan", "stl10"): 48,
}  # fmt: skip
"""Presets that are for pictures of one size; the others are tried with 16 pixels."""


@pytest.mark.parametrize("game", GAMES)
def test_every_preset_of_every_game_builds(game):
    cls = catalog.load(game)
    assert "tiny" in cls.presets and len(cls.presets) > 1
    for name, preset in cls.presets.items():
        config = build(cls.Config, preset.fields)
        assert build(cls.Config, to_dict(config)) == config
        if preset.kind in ("any", "points"):
            check_builds(cls, config, DataSpec("points", (2,), 3))
        if preset.kind in ("any", "image"):
            side = SIDES.get((game, name), 128 if cls.needs_input else 16)
            check_builds(cls, without_files(config), with_input(cls, DataSpec("image", (3, side, side), 3)))


def without_files(config):
    """The configuration without VGG's file, which is not at hand."""
    return dataclasses.replace(config, perceptual="none") if getattr(config, "perceptual", "") == "vgg" else config


def with_input(cls, spec):
    """The form of pictures and, for a translator, of what it starts from."""
    recipe = cls.any_input() if cls.needs_input else ""
    if not recipe:
        return spec
    source = open_pairs(ArraySource("black", DataSpec("image", spec.shape), np.zeros((1, *spec.shape), np.uint8)), input=recipe)
    return dataclasses.replace(source.spec, num_classes=spec.num_classes)


def check_builds(cls, config, spec):
    with torch.device("meta"):  # shapes only
        built = cls(config, spec)
    assert built.players() and built.stages()


@pytest.mark.parametrize("game", GAMES)
def test_a_preset_is_chosen_for_pictures_and_points(game):
    cls = catalog.load(game)
    points = any(preset.kind == "points" for preset in cls.presets.values())
    for spec in (DataSpec("image", (1, 8, 8), 10), DataSpec("image", (3, 32, 64), 10), *([DataSpec("points", (2,), 8)] if points else [])):
        preset = cls.presets[cls.preset_for(spec)]
        assert preset.auto and preset.kind == spec.kind
        assert spec.kind == "points" or max(spec.shape[1:]) <= preset.max_size
    with pytest.raises(UserError, match="sound.*image, points" if points else "sound.*image"):
        cls.preset_for(DataSpec("sound", (100,)))
