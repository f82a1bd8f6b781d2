"""CLIP: the embeddings of pictures and of texts in one space.

Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision", https://arxiv.org/abs/2103.00020; OpenAI's models
(github.com/openai/CLIP, MIT). The modules carry the names of Hugging Face's layout, so its files load as they are; OpenAI's own layout (and open_clip's,
which is the same) is renamed on reading. Features are the image embeddings after the projection, not normalised. Preprocessing as published: short side to
224 (336), Pillow's bicubic on 8 bits, centre crop, CLIP's mean and deviation. CMMD crops before it resizes (google-research/cmmd, io_util.py), which differs
for pictures that are not square: "clip-l14-336-cmmd".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agon.data.cache import sha256_of
from agon.errors import Unavailable, UserError
from agon.metrics.features.base import Extractor, as_rgb
from agon.metrics.features.pillow import LINE, crop_then_resize, normalised, precision_of, short_side_then_crop
from agon.metrics.features.weights import Weights, find, read_state

NAMES = {
    "clip": "OpenAI's CLIP ViT-B/32: 512 numbers a picture, 224x224; CLIP score's",
    "clip-l14": "OpenAI's CLIP ViT-L/14: 768 numbers a picture, 224x224",
    "clip-l14-336": "OpenAI's CLIP ViT-L/14 at 336x336: 768 numbers a picture",
    "clip-l14-336-cmmd": "clip-l14-336 with the crop before the resize, as CMMD's authors have it",
}
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CONTEXT = 77  # tokens of a text, its two marks included
WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""  # clip/simple_tokenizer.py

OPENAI = ("https://openaipublic.azureedge.net/clip/models/{sha256}/{file}", "https://openaipublic.blob.core.windows.net/clip/models/{sha256}/{file}")
TOKENIZER = "https://huggingface.co/openai/clip-vit-base-patch32/resolve/3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268/{file}"


def _weights(file: str, size: int, sha256: str) -> Weights:
    # The SHA-256 is part of OpenAI's address (clip/clip.py, _MODELS); the sizes are those that several mirrors and lock files name beside it.
    urls = tuple(url.format(sha256=sha256, file=file) for url in OPENAI)
    return Weights(file, urls, size, sha256, "MIT", "OpenAI, github.com/openai/CLIP; hash in its clip/clip.py")


WEIGHTS = {
    "clip": _weights("ViT-B-32.pt", 353_976_522, "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
    "clip-l14": _weights("ViT-L-14.pt", 932_768_134, "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
    "clip-l14-336": _weights("ViT-L-14-336px.pt", 934_088_680, "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
}
# Sizes and hashes of revision 3d74acf of openai/clip-vit-base-patch32, as several independent lock files name them.
VOCABULARY = Weights("vocab.json", (TOKENIZER.format(file="vocab.json"),), 862_328, "5047b556ce86ccaf6aa22b3ffccfc52d391ea4accdab9c2f2407da5b742d4363", "MIT",
                     "OpenAI, huggingface.co/openai/clip-vit-base-patch32")
MERGES = Weights("merges.txt", (TOKENIZER.format(file="merges.txt"),), 524_657, "f526393189112391ce6f9795d4695f704121ce452c3aad1f5335cc41337eba85", "MIT",
                 "OpenAI, huggingface.co/openai/clip-vit-base-patch32")


@dataclass(frozen=True)
class Tower:
    """One transformer: ``width``, ``depth`` blocks, ``heads``. The MLP is four times as wide."""

    width: int
    depth: int
    heads: int


@dataclass(frozen=True)
class ClipConfig:
    """``size``: the square picture's side in pixels, ``patch``: a patch's, ``embedding``: what both towers are projected to."""

    image: Tower
    text: Tower
    size: int
    patch: int
    embedding: int
    vocabulary: int = 49_408
    context: int = CONTEXT


B32 = ClipConfig(Tower(768, 12, 12), Tower(512, 12, 8), 224, 32, 512)
L14 = ClipConfig(Tower(1024, 24, 16), Tower(768, 12, 12), 224, 14, 768)
L14_336 = ClipConfig(Tower(1024, 24, 16), Tower(768, 12, 12), 336, 14, 768)
CONFIGS = {"clip": B32, "clip-l14": L14, "clip-l14-336": L14_336, "clip-l14-336-cmmd": L14_336}


class Attention(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.heads = tower.heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(tower.width, tower.width) for _ in range(4))

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))  # OpenAI's "quick" GELU, which is not nn.GELU


class Block(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.self_attn = Attention(tower)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(tower.width), nn.LayerNorm(tower.width)
        self.mlp = Mlp(tower.width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(tower) for _ in range(tower.depth))

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        for layer in self.layers:
            x = layer(x, causal)
        return x


class ImageEmbeddings(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width = config.image.width
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, config.patch, config.patch, bias=False)
        self.position_embedding = nn.Embedding((config.size // config.patch) ** 2 + 1, width)

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.patch_embedding(pictures).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        return torch.cat([first, patches], 1) + self.position_embedding.weight


class ImageTower(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.embeddings = ImageEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.image.width)  # spelt so in the published files
        self.encoder = Encoder(config.image)
        self.post_layernorm = nn.LayerNorm(config.image.width)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.post_layernorm(self.encoder(self.pre_layrnorm(self.embeddings(pictures)))[:, 0])


class TextEmbeddings(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary, config.text.width)
        self.position_embedding = nn.Embedding(config.context, config.text.width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]


class TextTower(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config.text)
        self.final_layer_norm = nn.LayerNorm(config.text.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``tokens`` (N, L): the end mark has the highest number there is, so its first place is the argmax; what stands after it is not seen (causal)."""
        x = self.final_layer_norm(self.encoder(self.embeddings(tokens), causal=True))
        return x[torch.arange(len(x), device=x.device), tokens.argmax(1)]


class ClipNet(nn.Module):
    """Both towers. ``image``: normalised float (N, 3, size, size) -> (N, embedding). ``text``: tokens (N, L <= context) -> (N, embedding)."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.vision_model, self.text_model = ImageTower(config), TextTower(config)
        self.visual_projection = nn.Linear(config.image.width, config.embedding, bias=False)
        self.text_projection = nn.Linear(config.text.width, config.embedding, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def image(self, pictures: Tensor) -> Tensor:
        return self.visual_projection(self.vision_model(pictures))

    def text(self, tokens: Tensor) -> Tensor:
        return self.text_projection(self.text_model(tokens))


RENAMED = (
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."), ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"), ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."), ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("token_embedding.", "text_model.embeddings.token_embedding."), ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.", "text_model.final_layer_norm."), ("transformer.resblocks.", "text_model.encoder.layers."),
)  # fmt: skip
RENAMED_INSIDE = (
    (".attn.out_proj.", ".self_attn.out_proj."), (".ln_1.", ".layer_norm1."), (".ln_2.", ".layer_norm2."), (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
)  # fmt: skip


def from_openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names (open_clip's too) -> Hugging Face's: the joint q, k, v matrix is cut in three, the two projections are transposed."""
    found = {}
    for name, value in state.items():
        if name == "visual.proj":
            found["visual_projection.weight"] = value.T
        elif name == "text_projection":
            found["text_projection.weight"] = value.T
        else:
            for old, new in RENAMED:
                if name.startswith(old):
                    name = new + name[len(old) :]
                    break
            for old, new in RENAMED_INSIDE:
                name = name.replace(old, new)
            if ".attn.in_proj_" in name:
                head, kind = name.split(".attn.in_proj_")
                found.update({f"{head}.self_attn.{part}_proj.{kind}": cut for part, cut in zip("qkv", value.chunk(3), strict=True)})
            else:
                found[name] = value
    return found


def load(net: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Puts ``state`` into ``net`` (made on the meta device or not), in float32; what the net has no place for is left out.
    Raises UserError where a tensor is missing or has another shape."""
    own = net.state_dict()
    for name, value in own.items():
        if name not in state or state[name].shape != value.shape:
            found = tuple(state[name].shape) if name in state else "missing"
            raise UserError("{path} does not hold these weights: {name} should be {shape} and is {found}. Expected the published file: get it anew, or name "
                            "the extractor that it belongs to.", path=path, name=name, shape=tuple(value.shape), found=found)
    net.load_state_dict({name: state[name].float() for name in own}, assign=True)


def tokenizer(folder: Path | None = None):
    """CLIP's byte-level BPE from ``vocab.json`` and ``merges.txt`` in ``folder`` (else found as weights are). Raises Unavailable without the library
    ``tokenizers``."""
    try:
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    except ImportError:
        raise Unavailable("Texts cannot be read, because the library tokenizers is missing. Install it: pip install tokenizers.") from None
    here = folder is not None and (folder / VOCABULARY.file).is_file() and (folder / MERGES.file).is_file()
    vocabulary, merges = (folder / part.file if here else find(part) for part in (VOCABULARY, MERGES))
    made = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges), end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    made.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])  # written out in a text they are the marks, as in OpenAI's
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return made


def tokens(texts: Sequence[str], made, context: int = CONTEXT) -> Tensor:
    """(N, L) int64: start mark, the text (cut to ``context`` with its marks), end mark; shorter ones are filled with the end mark."""
    start, end = made.token_to_id("<|startoftext|>"), made.token_to_id("<|endoftext|>")
    rows = [[start, *made.encode(text, add_special_tokens=False).ids[: context - 2], end] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [end] * (longest - len(row)) for row in rows])


class Clip(Extractor):
    """Pictures, and texts, to CLIP embeddings. ``weights``: the file; ``config``: the net's form, that of ``name`` if left out."""

    def __init__(self, name: str, weights: Path, *, config: ClipConfig | None = None, device: str = "cpu", precision: str = "fp32") -> None:
        self.name, self.config, self.device, self.folder = name, config or CONFIGS[name], device, Path(weights).parent
        self.sha256, self.dtype = sha256_of(weights), precision_of(precision)
        self.layers = {"features": self.config.embedding}
        order = "crop, then" if name.endswith("-cmmd") else "short side, then crop:"
        self.protocol = {"resize": f"{order} {LINE.format(size=self.config.size)}", "precision": precision, "output": "image embedding, after the projection"}
        self.net = make(self.config, read_state(weights), weights).to(device)
        self.tokenizer = None

    @torch.inference_mode()
    def run(self, samples: Tensor, layers: Sequence[str] = ("features",)) -> dict[str, Tensor]:
        """uint8 (N, 1, 3 or 4, H, W) -> {"features": float32 (N, 512 or 768)}."""
        fit = crop_then_resize if self.name.endswith("-cmmd") else short_side_then_crop
        pictures = normalised(fit(as_rgb(samples), self.config.size), MEAN, DEVIATION, self.device)
        with torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32):
            return {"features": self.net.image(pictures).float().cpu()}

    @torch.inference_mode()
    def text(self, texts: Sequence[str], batch: int = 64) -> Tensor:
        """N texts -> float32 (N, 512 or 768), in the same space. Raises Unavailable without the tokenizer's library or files."""
        self.tokenizer = self.tokenizer or tokenizer(self.folder)
        parts = []
        for first in range(0, len(texts), batch):
            rows = tokens(texts[first : first + batch], self.tokenizer, self.config.context)
            with torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32):
                parts.append(self.net.text(rows.to(self.device)).float().cpu())
        return torch.cat(parts)


def make(config: ClipConfig, state: dict[str, Tensor], path: Path) -> ClipNet:
    """The net with its weights, in either layout, ready to use."""
    with torch.device("meta"):
        net = ClipNet(config).eval()
    load(net, from_openai(state) if "visual.proj" in state else state, path)
    return net


def open_extractor(name: str, *, weights: Path | None = None, device: str = "cpu", precision: str = "fp32") -> Clip:
    """Raises Unavailable where the weights are nowhere, UserError where they are not CLIP's."""
    return Clip(name, find(WEIGHTS[name.removesuffix("-cmmd")], weights), device=device, precision=precision)
