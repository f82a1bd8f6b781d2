"""BigGAN, BigGAN-deep and their attention as the papers and the usual scripts write them down: from weights by name, with nothing merged or moved."""

import torch
import torch.nn.functional as F

EPS = 1e-5


def weights_of(module, prefix=""):
    """{name: tensor} with the weights that are used, after spectral normalisation."""
    found = {}
    for name, child in module.named_modules():
        for kind in ("weight", "bias", "running_mean", "running_var", "gain"):
            value = getattr(child, kind, None)
            if isinstance(value, torch.Tensor):
                found[".".join(part for part in (prefix, name, kind) if part)] = value.detach()
    return found


def conv(w, name, x, padding=None):
    kernel = w[f"{name}.weight"]
    return F.conv2d(x, kernel, w.get(f"{name}.bias"), padding=kernel.shape[-1] // 2 if padding is None else padding)


def up(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pool(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def norm(w, name, x, u):
    mean, var = w[f"{name}.norm.running_mean"], w[f"{name}.norm.running_var"]
    x = (x - mean[:, None, None]) / (var[:, None, None] + EPS).sqrt()
    if f"{name}.norm.weight" in w:
        return x * w[f"{name}.norm.weight"][:, None, None] + w[f"{name}.norm.bias"][:, None, None]
    gain, shift = 1 + u @ w[f"{name}.gain.weight"].T, u @ w[f"{name}.shift.weight"].T
    return x * gain[:, :, None, None] + shift[:, :, None, None]


def attention(w, name, x):
    """Every position asks every 2x2 block of positions, one sample and one position after the other."""
    query, key, value = (conv(w, f"{name}.{part}", x) for part in ("query", "key", "value"))
    key, value = F.max_pool2d(key, 2), F.max_pool2d(value, 2)
    seen = torch.zeros(x.shape[0], value.shape[1], *x.shape[2:], dtype=x.dtype)
    for n in range(x.shape[0]):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                scores = (query[n, :, i, j, None, None] * key[n]).sum(0)
                beta = (scores - scores.max()).exp()
                beta = beta / beta.sum()
                seen[n, :, i, j] = (beta * value[n]).sum((1, 2))
    return x + w[f"{name}.gain"] * conv(w, f"{name}.out", seen)


def block(w, name, x, u):
    y = conv(w, f"{name}.conv1", up(norm(w, f"{name}.norm1", x, u).relu()))
    y = conv(w, f"{name}.conv2", norm(w, f"{name}.norm2", y, u).relu())
    return y + conv(w, f"{name}.shortcut", up(x))


def deep_block(w, name, x, u, upsample):
    y = conv(w, f"{name}.conv1", norm(w, f"{name}.norm1", x, u).relu())
    y = norm(w, f"{name}.norm2", y, u).relu()
    y = conv(w, f"{name}.conv2", up(y) if upsample else y)
    y = conv(w, f"{name}.conv3", norm(w, f"{name}.norm3", y, u).relu())
    y = conv(w, f"{name}.conv4", norm(w, f"{name}.norm4", y, u).relu())
    x = x[:, : y.shape[1]]
    return y + (up(x) if upsample else x)


def generator(w, names, first, conditions, base):
    """``names``: of the blocks and attention; ``first``: what the first layer sees, ``conditions``: what the norms of each block see."""
    x = (first @ w["project.weight"].T + w["project.bias"]).reshape(len(first), -1, *base)
    conditions = iter(conditions)
    last = {name.split("_")[0]: name for name in names if not name.endswith("attention")}
    for name in names:
        if name.endswith("attention"):
            x = attention(w, f"blocks.{name}", x)
        elif f"blocks.{name}.conv4.weight" in w:
            x = deep_block(w, f"blocks.{name}", x, next(conditions), name in last.values())
        else:
            x = block(w, f"blocks.{name}", x, next(conditions))
    return conv(w, "to_picture.conv", norm(w, "to_picture.norm", x, None).relu()).tanh()


def judge_block(w, name, x, down, first):
    y = conv(w, f"{name}.conv2", conv(w, f"{name}.conv1", x if first else x.relu()).relu())
    if f"{name}.shortcut.weight" in w:
        x = conv(w, f"{name}.shortcut", x)
    return pool(y) + pool(x) if down else y + x


def deep_judge_block(w, name, x, down):
    y = conv(w, f"{name}.conv3", conv(w, f"{name}.conv2", conv(w, f"{name}.conv1", x.relu()).relu()).relu()).relu()
    if down:
        x, y = pool(x), pool(y)
    y = conv(w, f"{name}.conv4", y)
    return y + (torch.cat([x, conv(w, f"{name}.shortcut", x)], 1) if f"{name}.shortcut.weight" in w else x)


def discriminator(w, names, downs, x, label):
    """``downs``: names of the blocks that halve the picture; ``label``: (N,) or None."""
    for i, name in enumerate(names):
        full = f"backbone.blocks.{name}"
        if name == "from_picture":
            x = conv(w, full, x)
        elif name.endswith("attention"):
            x = attention(w, full, x)
        elif f"{full}.conv4.weight" in w:
            x = deep_judge_block(w, full, x, name in downs)
        else:
            x = judge_block(w, full, x, name in downs, i == 0)
    features = x.relu().sum((2, 3))
    out = features @ w["head.weight"][0] + w["head.bias"]
    return out if label is None else out + (w["embedding.weight"].T[label] * features).sum(1)
