"""CLIP and DINOv2 against transformers' implementations with the same random weights, and their preprocessing against Pillow."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from agon.errors import Unavailable, UserError
from agon.metrics.features import clip, dinov2, pillow

TINY = clip.ClipConfig(clip.Tower(32, 3, 4), clip.Tower(24, 2, 3), 48, 16, 20, vocabulary=90, context=12)
TINY_DINO = dinov2.DinoConfig(24, 3, 2, trained=56)
PUBLISHED = {"clip": (512, 32, 224, 12, 768, 12, 512, 8, 12), "clip-l14": (768, 14, 224, 24, 1024, 16, 768, 12, 12)}
PUBLISHED["clip-l14-336"] = (768, 14, 336, *PUBLISHED["clip-l14"][3:])  # config.json of openai/clip-vit-*


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def pillows(picture, height, width):
    """(3, H, W) uint8 -> (height, width, 3): the horizontal pass, then the vertical one, which Pillow 13 alone would not always do in this order."""
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    return np.asarray(image.resize((width, image.height), Image.Resampling.BICUBIC).resize((width, height), Image.Resampling.BICUBIC))


def randomised(model, seed=0):
    """Weights of a size that makes every part matter (the default initialisation leaves biases and layer scales without effect)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            middle = 1 if "norm" in name and name.endswith("weight") else 0
            value.copy_(torch.randn(value.shape, generator=generator) * (0.2 if value.ndim > 1 else 0.3) + middle)
    return model.eval()


def their_clip(config):
    from transformers import CLIPConfig, CLIPModel

    sides = {"vision_config": (config.image, {"image_size": config.size, "patch_size": config.patch}),
             "text_config": (config.text, {"vocab_size": config.vocabulary, "max_position_embeddings": config.context, "bos_token_id": 0,
                                           "eos_token_id": config.vocabulary - 1})}  # fmt: skip
    return CLIPModel(CLIPConfig(projection_dim=config.embedding, **{
        key: {"hidden_size": tower.width, "num_hidden_layers": tower.depth, "num_attention_heads": tower.heads, "intermediate_size": 4 * tower.width, **more}
        for key, (tower, more) in sides.items()}))  # fmt: skip


def their_dino(config):
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(hidden_size=config.width, num_hidden_layers=config.depth, num_attention_heads=config.heads, patch_size=config.patch,
                                    image_size=config.trained))  # fmt: skip


def pooled(answer):
    return getattr(answer, "pooler_output", answer)


@pytest.fixture(scope="module")
def clip_pair(tmp_path_factory):
    model = randomised(their_clip(TINY))
    path = tmp_path_factory.mktemp("clip") / "model.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return model, clip.Clip("clip", path, config=TINY), path


@pytest.fixture(scope="module")
def dino_pair():
    model = randomised(their_dino(TINY_DINO))
    return model, dinov2.make(TINY_DINO, dinov2.from_hugging_face(model.state_dict()), "tiny")


def test_image_tower_is_transformers(clip_pair):
    model, ours, _ = clip_pair
    pictures = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = pooled(model.get_image_features(pictures)), ours.net.image(pictures)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_text_tower_is_transformers_and_blind_after_the_end(clip_pair):
    model, ours, _ = clip_pair
    end = TINY.vocabulary - 1
    tokens = torch.tensor([[0, 5, 7, 44, 2, end, end, end], [0, 9, end, end, end, end, end, end], [0, 1, 2, 3, 4, 5, 6, end]])
    with torch.no_grad():
        expected, found = pooled(model.get_text_features(input_ids=tokens)), ours.net.text(tokens)
        short = ours.net.text(tokens[1:2, :3])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(short, found[1:2], rtol=0, atol=1e-5)


def test_whole_extractor_is_transformers_behind_pillow(clip_pair):
    """Pictures of another shape: resize by Pillow itself, crop and normalise by hand, net by transformers. The resize may differ by 2 of 255."""
    model, ours, path = clip_pair
    pictures = noise(4, 3, 70, 93)
    rows = []
    for picture in pictures:
        resized = pillows(picture, 48, 63)[:, 8:56]  # (63 - 48) / 2 = 7.5 -> 8
        rows.append((resized / 255 - np.array(clip.MEAN)) / np.array(clip.DEVIATION))
    with torch.no_grad():
        expected = pooled(model.get_image_features(torch.from_numpy(np.stack(rows)).float().permute(0, 3, 1, 2)))
    found = ours.run(pictures)["features"]
    assert found.dtype == torch.float32 and ours.layers == {"features": 20} and len(ours.sha256) == 64
    assert (found - expected).abs().max() < 0.01 * expected.std()
    alone = torch.cat([ours.run(picture[None])["features"] for picture in pictures])
    assert (found - alone).abs().max() < 1e-5 * expected.std()


def test_cmmds_extractor_crops_first(clip_pair):
    _, ours, path = clip_pair
    theirs = clip.Clip("clip-l14-336-cmmd", path, config=TINY)
    tall, square = noise(2, 3, 91, 60), noise(2, 3, 60, 60)
    assert torch.equal(theirs.run(tall)["features"], ours.run(tall[:, :, 15:75])["features"])
    assert not torch.equal(theirs.run(tall)["features"], ours.run(tall)["features"])
    assert torch.equal(theirs.run(square)["features"], ours.run(square)["features"]) and theirs.protocol["resize"].startswith("crop")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_openai_layout_gives_the_same_net(clip_pair, tmp_path, dtype):
    """The layout is made here from the description of openai/CLIP's model.py (joint q, k, v; projections on the right), not by our renaming turned round."""
    model, ours, _ = clip_pair
    state, made = model.state_dict(), {"input_resolution": torch.tensor(48), "context_length": torch.tensor(12), "vocab_size": torch.tensor(90)}
    for theirs, hugging in (("visual.", "vision_model."), ("", "text_model.")):
        for index in range(TINY.image.depth if theirs else TINY.text.depth):
            new, old = f"{theirs}transformer.resblocks.{index}.", f"{hugging}encoder.layers.{index}."
            for kind, glue in (("weight", "_"), ("bias", "_")):
                made[f"{new}attn.in_proj{glue}{kind}"] = torch.cat([state[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"])
                made[f"{new}attn.out_proj.{kind}"] = state[f"{old}self_attn.out_proj.{kind}"]
                for one, other in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                    made[f"{new}{one}.{kind}"] = state[f"{old}{other}.{kind}"]
    made["visual.conv1.weight"] = state["vision_model.embeddings.patch_embedding.weight"]
    made["visual.class_embedding"] = state["vision_model.embeddings.class_embedding"]
    made["visual.positional_embedding"] = state["vision_model.embeddings.position_embedding.weight"]
    made["positional_embedding"] = state["text_model.embeddings.position_embedding.weight"]
    made["token_embedding.weight"] = state["text_model.embeddings.token_embedding.weight"]
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm", "ln_final": "text_model.final_layer_norm"}
    for one, other in norms.items():
        made.update({f"{one}.{kind}": state[f"{other}.{kind}"] for kind in ("weight", "bias")})
    made["visual.proj"], made["text_projection"] = state["visual_projection.weight"].T, state["text_projection.weight"].T
    made["logit_scale"] = state["logit_scale"]
    path = tmp_path / "ViT.pt"
    torch.save({name: value.to(dtype).contiguous() for name, value in made.items()}, path)
    found = clip.Clip("clip", path, config=TINY).net.state_dict()
    for name, value in ours.net.state_dict().items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], value.to(dtype).float()), name


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_clip_has_our_names_shapes_and_count(name):
    """transformers' model of the published configuration, on the meta device, holds the same tensors; what it has besides are position ids."""
    from transformers import CLIPConfig, CLIPModel

    embedding, patch, size, depth, width, heads, text_width, text_heads, text_depth = PUBLISHED[name]
    with torch.device("meta"):
        theirs = CLIPModel(CLIPConfig(
            projection_dim=embedding,
            vision_config={"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads, "intermediate_size": 4 * width,
                           "image_size": size, "patch_size": patch},
            text_config={"hidden_size": text_width, "num_hidden_layers": text_depth, "num_attention_heads": text_heads,
                         "intermediate_size": 4 * text_width}))  # fmt: skip
        ours = clip.ClipNet(clip.CONFIGS[name])
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items() if not key.endswith("position_ids")}
    assert {key: tuple(value.shape) for key, value in ours.state_dict().items()} == shapes
    assert ours.vision_model.encoder.layers[0].self_attn.heads == heads and ours.text_model.encoder.layers[0].self_attn.heads == text_heads
    known = {"clip": 151_277_313, "clip-l14": 427_616_513, "clip-l14-336": 427_944_193}  # as published: 151M, 428M
    assert sum(value.numel() for value in ours.parameters()) == sum(value.numel() for value in theirs.parameters()) == known[name]


def test_dinov2_is_transformers_at_its_own_size(dino_pair):
    model, ours = dino_pair
    pictures = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = model(pictures).last_hidden_state[:, 0], ours(pictures)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_published_hugging_face_names_of_dinov2(dino_pair):
    """The files of facebook/dinov2-* carry the names of transformers before version 5."""
    model, ours = dino_pair
    before = (("attention.q_proj", "attention.attention.query"), ("attention.k_proj", "attention.attention.key"),
              ("attention.v_proj", "attention.attention.value"), ("attention.o_proj", "attention.output.dense"))  # fmt: skip
    state = model.state_dict()
    for new, old in before:
        state = {name.replace(new, old): value for name, value in state.items()}
    found = dinov2.from_hugging_face({f"dinov2.{name}": value for name, value in state.items()})
    assert found.keys() == ours.state_dict().keys() and all(torch.equal(found[name], value) for name, value in ours.state_dict().items())


def test_position_embeddings_are_interpolated_as_published():
    """37x37 -> 16x16: output i reads the input at (i + 1/2) 37 / 16.1 - 1/2 through the cubic kernel with a = -0.75, edges repeated; by hand, in float64."""
    net = dinov2.DinoNet(dinov2.DinoConfig(6, 1, 1))
    values = np.random.default_rng(0).standard_normal((1, 37 * 37 + 1, 6))
    net.pos_embed.data = torch.from_numpy(values).float()

    def kernel(t, a=-0.75):
        t = abs(t)
        return ((a + 2) * t - (a + 3)) * t * t + 1 if t <= 1 else (((t - 5) * t + 8) * t - 4) * a if t < 2 else 0.0

    matrix = np.zeros((16, 37))
    for i in range(16):
        place = (i + 0.5) * 37 / 16.1 - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[i, min(max(j, 0), 36)] += kernel(place - j)
    grid = np.einsum("ij,kl,jlc->ikc", matrix, matrix, values[0, 1:].reshape(37, 37, 6)).reshape(256, 6)
    found = net.positions(16, 16)[0].detach().numpy()
    np.testing.assert_allclose(found, np.concatenate([values[0, :1], grid]), atol=1e-5)
    assert net.positions(37, 37) is net.pos_embed


@pytest.mark.parametrize(("name", "count"), [("dinov2", 304_368_640), ("dinov2-b", 86_580_480), ("dinov2-s", 22_056_576)])
def test_published_dinov2_has_our_names_shapes_and_count(name, count):
    with torch.device("meta"):
        ours, theirs = dinov2.DinoNet(dinov2.CONFIGS[name]), their_dino(dinov2.CONFIGS[name])
    found = dinov2.from_hugging_face(theirs.state_dict())
    shapes = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    assert shapes == {key: tuple(value.shape) for key, value in found.items()}
    depth, width = dinov2.CONFIGS[name].depth, dinov2.CONFIGS[name].width
    assert len(shapes) == 7 + 14 * depth
    assert shapes["pos_embed"] == (1, 1370, width) and shapes["blocks.0.ls1.gamma"] == (width,)
    assert shapes[f"blocks.{depth - 1}.attn.qkv.weight"] == (3 * width, width)
    assert sum(value.numel() for value in ours.parameters()) == sum(value.numel() for value in theirs.parameters()) == count


def test_dinov2_extractor_squeezes_as_pillow(tmp_path):
    config = dinov2.DinoConfig(16, 1, 2)
    net = randomised(dinov2.DinoNet(config))
    path = tmp_path / "dino.pth"
    torch.save(net.state_dict(), path)
    ours = dinov2.Dinov2("dinov2", path, config=config)
    pictures = noise(3, 3, 40, 300)
    resized = np.stack([pillows(picture, 224, 224) for picture in pictures])
    inputs = torch.from_numpy((resized / 255 - np.array(dinov2.MEAN)) / np.array(dinov2.DEVIATION)).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = net(inputs)
    found = ours.run(pictures)["features"]
    assert (found - expected).abs().max() < 0.01 * expected.std() and ours.layers == {"features": 16}
    grey = ours.run(pictures[:, :1])["features"]
    assert torch.equal(grey, ours.run(pictures[:, :1].expand(-1, 3, -1, -1))["features"])


@pytest.mark.parametrize(("size", "target"), [((8, 8), (224, 224)), ((300, 451), (224, 337)), ((224, 100), (224, 224)), ((500, 350), (336, 336))])
def test_resize_is_pillows(size, target):
    pictures = noise(2, 3, *size)
    ours = pillow.bicubic(pictures, *target).numpy().astype(int)
    theirs = np.stack([pillows(picture, *target).transpose(2, 0, 1) for picture in pictures])
    assert np.abs(ours - theirs).max() <= 2 and (ours != theirs).mean() < 0.01


def test_order_of_crop_and_resize():
    tall, square = noise(1, 3, 91, 60), noise(1, 3, 50, 50)
    assert torch.equal(pillow.short_side_then_crop(square, 24), pillow.crop_then_resize(square, 24))
    expected = pillows(tall[0, :, 15:75], 24, 24)
    assert np.abs(pillow.crop_then_resize(tall, 24)[0].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2
    assert not torch.equal(pillow.short_side_then_crop(tall, 24), pillow.crop_then_resize(tall, 24))
    assert pillow.short_side_then_crop(tall, 24).shape == (1, 3, 24, 24)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A small vocabulary in CLIP's files: all bytes, all bytes at a word's end, a few merges, the two marks last."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder, letters = tmp_path_factory.mktemp("words"), sorted(ByteLevel.alphabet())
    merges = ["a t</w>", "c at</w>", "p h", "o t", "ph ot", "phot o</w>", "d o", "do g</w>", "Ã ¼"]
    known = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(known)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return folder


TEXTS = ["A photo  depicts a CAT.", "dog's 42 dogs!?", "Grüße\tan  die\n猫 🐈", "", "it's we'll <|endoftext|> x" * 9]


def test_tokens_are_transformers(words):
    from transformers import CLIPTokenizer

    merges = [tuple(line.split()) for line in (words / "merges.txt").read_text().splitlines()[1:]]
    theirs = CLIPTokenizer(vocab=json.loads((words / "vocab.json").read_text()), merges=merges)
    expected = theirs(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")["input_ids"]
    found = clip.tokens(TEXTS, clip.tokenizer(words))
    assert torch.equal(found, expected) and found.shape[1] == 77
    known = json.loads((words / "vocab.json").read_text())
    end = len(known) - 1
    assert clip.tokens(["photo cat"], clip.tokenizer(words)).tolist() == [[end - 1, known["photo</w>"], known["cat</w>"], end]]


def test_text_goes_through_tokenizer_and_tower(words, tmp_path):
    config = clip.ClipConfig(TINY.image, TINY.text, 48, 16, 20, vocabulary=len(json.loads((words / "vocab.json").read_text())), context=10)
    net = randomised(clip.ClipNet(config))
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((words / name).read_bytes())
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    ours = clip.Clip("clip", tmp_path / "weights.safetensors", config=config)
    found = ours.text(["a dog", "a photo of many dogs and cats"], batch=1)
    with torch.no_grad():
        expected = net.text(clip.tokens(["a dog", "a photo of many dogs and cats"], clip.tokenizer(words), 10))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_wrong_weights_are_named(clip_pair, tmp_path):
    _, ours, path = clip_pair
    with pytest.raises(UserError, match="vision_model.embeddings.class_embedding should be .768,. and is .32,"):
        clip.open_extractor("clip", weights=path)
    with pytest.raises(UserError, match="cls_token should be .* missing"):
        dinov2.open_extractor("dinov2-s", weights=path)
    with pytest.raises(UserError, match="precision 'fp8'"):
        clip.Clip("clip", path, config=TINY, precision="fp8")


def test_weights_that_are_nowhere_are_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr("agon.metrics.features.weights.fetch", refuse)
    monkeypatch.setattr("agon.metrics.features.weights.cache_folder", lambda: tmp_path)
    monkeypatch.delenv("AGON_WEIGHTS", raising=False)
    with pytest.raises(Unavailable, match="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02.*curl"):
        clip.open_extractor("clip-l14-336-cmmd")
    with pytest.raises(Unavailable, match="dinov2_vitl14_pretrain.pth .1217586395 bytes"):
        dinov2.open_extractor("dinov2")


def refuse(url, target, sha256):
    raise OSError("no network here")


def test_bf16_is_near_and_stated(clip_pair):
    _, ours, path = clip_pair
    half = clip.Clip("clip", path, config=TINY, precision="bf16")
    pictures = noise(4, 3, 48, 48)
    a, b = ours.run(pictures)["features"], half.run(pictures)["features"]
    assert half.protocol["precision"] == "bf16" and b.dtype == torch.float32
    assert 1e-6 < (a - b).abs().max() / a.std() < 0.1
