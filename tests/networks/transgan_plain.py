"""TransGAN's networks once more, for one sample at a time: loops over windows, heads, tokens and pixels, straight from the paper's definitions."""

import math

import torch
import torch.nn.functional as F


def norm(p, name, x):
    if f"{name}.weight" not in p:
        return x / torch.sqrt((x * x).mean(1, keepdim=True) + 1e-8)
    centred = x - x.mean(1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(1, keepdim=True) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def tiles(grid, window):
    """Each window's tokens, as (row, column)."""
    for top in range(0, grid[0], window[0]):
        for left in range(0, grid[1], window[1]):
            yield [(top + i, left + j) for i in range(window[0]) for j in range(window[1])]


def attention(p, name, x, heads, places, shape):
    """``places``: lists of tokens that see each other; ``shape``: height and width of a window, None without relative positions."""
    width = x.shape[1]
    part, out = width // heads, torch.zeros_like(x)
    for rows, tokens in places:
        for h in range(heads):
            q, k, v = (x[rows] @ p[f"{name}.qkv.weight"][start + h * part : start + (h + 1) * part].T for start in (0, width, 2 * width))
            scores = q @ k.T / math.sqrt(part)
            if shape is not None:
                offsets = [[(a[0] - b[0] + shape[0] - 1) * (2 * shape[1] - 1) + a[1] - b[1] + shape[1] - 1 for b in tokens] for a in tokens]
                scores = scores + p[f"{name}.table"][torch.tensor(offsets), h]
            out[rows, h * part : (h + 1) * part] = torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True) @ v
    return out @ p[f"{name}.project.weight"].T + p[f"{name}.project.bias"]


def block(p, name, x, heads, grid, window, noise=None):
    y = norm(p, f"{name}.norm1", x)
    if noise is not None:
        y = y + noise * p[f"{name}.attention.noise_strength"]
    places = [(list(range(len(x))), None)] if grid is None else [([r * grid[1] + c for r, c in tokens], tokens) for tokens in tiles(grid, window)]
    x = x + attention(p, f"{name}.attention", y, heads, places, window if grid is not None else None)
    y = norm(p, f"{name}.norm2", x) @ p[f"{name}.fc1.weight"].T + p[f"{name}.fc1.bias"]
    y = y * torch.special.ndtr(y)
    return x + y @ p[f"{name}.fc2.weight"].T + p[f"{name}.fc2.bias"]


def shuffle(x, grid):
    """Tokens (h w, 4 C) -> (2 h 2 w, C): channel 4 c + 2 i + j of a token is channel c of its pixel (i, j)."""
    out = torch.zeros(2 * grid[0], 2 * grid[1], x.shape[1] // 4, dtype=x.dtype)
    for t, token in enumerate(x):
        for i in range(2):
            for j in range(2):
                out[2 * (t // grid[1]) + i, 2 * (t % grid[1]) + j] = token[2 * i + j :: 4]
    return out.reshape(-1, out.shape[2])


def bicubic(x, grid):
    picture = x.T.reshape(1, -1, *grid)
    return F.interpolate(picture, size=(2 * grid[0], 2 * grid[1]), mode="bicubic").reshape(x.shape[1], -1).T


def generator(p, latent, stages, heads):
    """``stages``: (grid, window, depth, how the tokens get there) from the lowest up."""
    x = (p["project.weight"] @ latent + p["project.bias"]).reshape(math.prod(stages[0][0]), -1)
    before = None
    for grid, window, depth, way in stages:
        if before is not None:
            x = way(x, before)
        x = x + p[f"b{min(grid)}.position"][0]
        for i in range(depth):
            x = block(p, f"b{min(grid)}.blocks.{i}", x, heads, grid, window)
        before = grid
    return (x @ p["to_picture.weight"][:, :, 0, 0].T + p["to_picture.bias"]).T.reshape(-1, *grid)


def patches(p, name, picture, side):
    """Tokens of side x side patches."""
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    rows, columns = picture.shape[1] // side, picture.shape[2] // side
    return torch.stack([
        (weight * picture[:, side * r : side * (r + 1), side * c : side * (c + 1)]).sum((1, 2, 3)) + bias for r in range(rows) for c in range(columns)
    ])  # fmt: skip


def discriminator(p, picture, patch, depth, heads, noises):
    """``noises``: one (tokens, 1) for each block in turn, or None."""
    noises = iter(noises) if noises is not None else iter([None] * (2 * depth + 1))
    fine_grid = (picture.shape[1] // patch, picture.shape[2] // patch)
    coarse_grid = (fine_grid[0] // 2, fine_grid[1] // 2)
    x = patches(p, "from_fine", picture, patch) + p[f"b{min(fine_grid)}.position"][0]
    for i in range(depth):
        x = block(p, f"b{min(fine_grid)}.blocks.{i}", x, heads, fine_grid, fine_grid, next(noises))
    x = x.reshape(coarse_grid[0], 2, coarse_grid[1], 2, -1).mean((1, 3)).reshape(math.prod(coarse_grid), -1)
    x = torch.cat([x, patches(p, "from_coarse", picture, 2 * patch)], 1) + p[f"b{min(coarse_grid)}.position"][0]
    for i in range(depth):
        x = block(p, f"b{min(coarse_grid)}.blocks.{i}", x, heads, coarse_grid, coarse_grid, next(noises))
    x = block(p, "last", torch.cat([p["token"][0], x]), heads, None, None, next(noises))
    return (norm(p, "norm", x)[0] @ p["head.weight"].T + p["head.bias"])[0]
