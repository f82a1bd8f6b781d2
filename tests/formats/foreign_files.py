"""Tiny checkpoints in other projects' layouts, written as those projects write them: by pickling objects of classes that only exist while they are pickled.

Names and shapes are stated here from the projects' sources, not taken from Agon's networks, and numbers are drawn, so that a test knows what must arrive where.
"""

import contextlib
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import torch


def drawn(*shape):
    return torch.randn(shape)


@contextlib.contextmanager
def pretended(**classes):
    """Modules that hold these classes while a file is written: pickle looks a class up where it says it is from."""
    before = dict(sys.modules)
    for each in classes.values():
        parts = each.__module__.split(".")
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        setattr(sys.modules[each.__module__], each.__qualname__, each)
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def made(name, base=object, **contents):
    """A class by its dotted name."""
    module, _, short = name.rpartition(".")
    return type(short, (base,), {"__module__": module, "__qualname__": short, **contents})


EasyDict = made("dnnlib.util.EasyDict", dict)
Network = made("dnnlib.tflib.network.Network", __init__=lambda self, **state: setattr(self, "given", state), __getstate__=lambda self: self.given)


def _reconstruct_persistent_obj(meta):
    raise AssertionError("run")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
_reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"


class Persistent:
    """What torch_utils.persistence makes of an object."""

    def __init__(self, kind, state, source):
        self.meta = {"type": "class", "version": 6, "module_src": source, "class_name": kind, "state": state}

    def __reduce__(self):
        return _reconstruct_persistent_obj, (self.meta,), None


def nested(flat, attributes, make, buffers=("w_avg", "resample_filter", "noise_const", "magnitude_ema", "freqs", "phases", "transform", "up_filter", "Kernel")):
    """Flat names -> module objects with _parameters, _buffers, _modules; ``attributes``: by the module's dotted name; ``make(path, state)`` -> the object."""
    def build(path):
        start = f"{path}." if path else ""
        state = {"training": False, "_parameters": OrderedDict(), "_buffers": OrderedDict(), "_non_persistent_buffers_set": set(), "_modules": OrderedDict()}
        for name, value in flat.items():
            rest = name.removeprefix(start) if name.startswith(start) else ""
            head, dot, _ = rest.partition(".")
            if rest and not dot:
                state["_buffers" if head in buffers else "_parameters"][head] = value if head in buffers else torch.nn.Parameter(value)
            elif rest and head not in state["_modules"]:
                state["_modules"][head] = build(start + head)
        return make(path, state | attributes.get(path, {}))

    return build("")


# --- NVIDIA -----------------------------------------------------------------------------------------------------------------------------

TAPS = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


def stylegan2_generator(side, z, w, layers, widths, classes=0):
    """The authors' state dict of a skip generator."""
    state = {"mapping.w_avg": drawn(w)}
    if classes:
        state |= {"mapping.embed.weight": drawn(w, classes), "mapping.embed.bias": drawn(w)}
    for i in range(layers):
        state |= {f"mapping.fc{i}.weight": drawn(w, (z + (w if classes else 0)) if i == 0 else w) * 100, f"mapping.fc{i}.bias": drawn(w)}
    r = 4
    while r <= side:
        block, out = f"synthesis.b{r}", widths[r]
        state[f"{block}.resample_filter"] = TAPS
        if r == 4:
            state[f"{block}.const"] = drawn(out, 4, 4)
        for name, before in (("conv0", widths.get(r // 2)), ("conv1", out)) if r > 4 else (("conv1", out),):
            state |= {
                f"{block}.{name}.weight": drawn(out, before, 3, 3), f"{block}.{name}.bias": drawn(out), f"{block}.{name}.noise_strength": drawn(),
                f"{block}.{name}.noise_const": drawn(r, r), f"{block}.{name}.affine.weight": drawn(before, w), f"{block}.{name}.affine.bias": drawn(before),
                f"{block}.{name}.resample_filter": TAPS,
            }  # fmt: skip
        state |= {f"{block}.torgb.weight": drawn(3, out, 1, 1), f"{block}.torgb.bias": drawn(3)}
        state |= {f"{block}.torgb.affine.weight": drawn(out, w), f"{block}.torgb.affine.bias": drawn(out)}
        r *= 2
    return state


def stylegan2_discriminator(side, widths, classes=0, layers=2):
    """The authors' state dict of a residual discriminator."""
    state, r = {f"b{side}.fromrgb.weight": drawn(widths[side], 3, 1, 1), f"b{side}.fromrgb.bias": drawn(widths[side])}, side
    while r > 4:
        before, after = widths[r], widths[r // 2]
        state |= {
            f"b{r}.conv0.weight": drawn(before, before, 3, 3), f"b{r}.conv0.bias": drawn(before), f"b{r}.conv1.weight": drawn(after, before, 3, 3),
            f"b{r}.conv1.bias": drawn(after), f"b{r}.skip.weight": drawn(after, before, 1, 1), f"b{r}.skip.resample_filter": TAPS,
        }  # fmt: skip
        r //= 2
    w = widths[4]
    for i in range(layers) if classes else ():
        state |= {f"mapping.fc{i}.weight": drawn(w, w) * 100, f"mapping.fc{i}.bias": drawn(w)}
    if classes:
        state |= {"mapping.embed.weight": drawn(w, classes), "mapping.embed.bias": drawn(w)}
    return state | {
        "b4.conv.weight": drawn(w, w + 1, 3, 3), "b4.conv.bias": drawn(w), "b4.fc.weight": drawn(w, 16 * w), "b4.fc.bias": drawn(w),
        "b4.out.weight": drawn(w if classes else 1, w), "b4.out.bias": drawn(w if classes else 1),
    }  # fmt: skip


def nvidia(path, *, side=16, z=6, w=5, layers=2, base=96, most=8, classes=0, clamp=None, mapping_lr=0.01, source="", protocol=4, change=None, lie=None):
    """A pickle of StyleGAN2-ADA-PyTorch; ``lie``: (module, attributes that are not so); returns {"G": state dict, "G_ema": ..., "D": ...}."""
    widths = {4 << k: min(base // (4 << k), most) for k in range(side.bit_length() - 2)}
    states = {name: stylegan2_generator(side, z, w, layers, widths, classes) for name in ("G", "G_ema")} | {"D": stylegan2_discriminator(side, widths, classes)}
    if change:
        change(states)
    own = {"z_dim": z, "c_dim": classes, "w_dim": w, "img_resolution": side, "img_channels": 3, "_init_kwargs": EasyDict(z_dim=z)}
    gain = mapping_lr / np.sqrt(z)  # a NumPy scalar, as theirs
    linear = {"activation": "lrelu", "in_features": z, "out_features": w, "weight_gain": gain, "bias_gain": mapping_lr}
    attributes = {
        "": own, "mapping": {"num_layers": layers, "w_avg_beta": 0.998}, "mapping.fc0": linear, f"synthesis.b{side}": {"architecture": "skip"},
        "synthesis.b4.conv1": {"activation": "lrelu", "conv_clamp": clamp, "use_noise": True, "padding": np.arange(2)},
    }  # fmt: skip
    if lie:
        attributes[lie[0]] = attributes.get(lie[0], {}) | lie[1]
    judge = {
        "": {"c_dim": classes, "img_resolution": side, "img_channels": 3}, f"b{side}": {"architecture": "resnet"}, f"b{side}.conv0": {"conv_clamp": clamp},
        "mapping": {"num_layers": 2}, "mapping.fc0": linear | {"bias_gain": 2 * mapping_lr},
    }  # fmt: skip

    def persistent(attributes, kind):
        def make(path, state):
            if path == "b4":
                state["_modules"]["mbstd"] = Persistent("MinibatchStdLayer", {"group_size": 4, "num_channels": 1, "_modules": {}}, source)
            return Persistent(kind if not path else "Part", state, source)

        return lambda flat: nested(flat, attributes, make)

    data = {name: persistent(attributes, "Generator")(states[name]) for name in ("G", "G_ema")} | {"D": persistent(judge, "Discriminator")(states["D"])}
    data |= {"training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", resolution=side), "augment_pipe": None}
    with pretended(a=_reconstruct_persistent_obj, b=EasyDict):
        path.write_bytes(pickle.dumps(data, protocol))
    return states


def tensorflow(path, *, side=8, z=6, w=5, base=24, most=8, source="", protocol=3):
    """A pickle of StyleGAN2 in TensorFlow: a tuple (G, D, Gs); returns its variables by part."""
    widths = {4 << k: min(2 * base // (4 << k), most) for k in range(side.bit_length() - 2)}

    def array(*shape):
        return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(np.float32)

    def generator():
        mapping = {f"Dense{i}/{kind}": array(*shape) for i in range(2) for kind, shape in (("weight", (z if i == 0 else w, w)), ("bias", (w,)))}
        synthesis = {"4x4/Const/const": array(1, widths[4], 4, 4), "noise0": array(1, 1, 4, 4), "noise1": array(1, 1, 8, 8), "noise2": array(1, 1, 8, 8)}
        for place, before, after, kernel in (("4x4/Conv", 4, 4, 3), ("4x4/ToRGB", 4, 0, 1), ("8x8/Conv0_up", 4, 8, 3), ("8x8/Conv1", 8, 8, 3),
        ("8x8/ToRGB", 8, 0, 1)):
            i, o = widths[before], widths.get(after, 3)
            synthesis |= {f"{place}/weight": array(kernel, kernel, i, o), f"{place}/bias": array(o)}
            synthesis |= {f"{place}/mod_weight": array(w, i), f"{place}/mod_bias": array(i)}
            synthesis |= {} if "RGB" in place else {f"{place}/noise_strength": np.float32(0.5)}
        parts = EasyDict(synthesis=network("G_synthesis", synthesis), mapping=network("G_mapping", mapping))
        return network("G_main", {"dlatent_avg": array(w), "lod": np.float32(0)}, parts), synthesis

    def network(name, variables, components=None):
        arguments = {
            "num_channels": 3, "resolution": side, "label_size": 0, "latent_size": z, "dlatent_size": w, "fmap_base": base, "fmap_max": most,
            "mapping_layers": 2,
        }  # fmt: skip
        return Network(version=4, name=name, static_kwargs=arguments, components=components or EasyDict(), build_module_src=source, build_func_name="f",
                       variables=list(variables.items()))

    four, eight = widths[4], widths[8]
    judge = {
        "8x8/FromRGB/weight": array(1, 1, 3, eight), "8x8/FromRGB/bias": array(eight), "8x8/Conv0/weight": array(3, 3, eight, eight),
        "8x8/Conv0/bias": array(eight),
        "8x8/Conv1_down/weight": array(3, 3, eight, four), "8x8/Conv1_down/bias": array(four), "8x8/Skip/weight": array(1, 1, eight, four),
        "4x4/Conv/weight": array(3, 3, four + 1, four), "4x4/Conv/bias": array(four), "4x4/Dense0/weight": array(16 * four, four),
        "4x4/Dense0/bias": array(four),
        "Output/weight": array(four, 1), "Output/bias": array(1),
    }  # fmt: skip
    (plain, _), (averaged, synthesis) = generator(), generator()
    with pretended(a=EasyDict, b=Network):
        path.write_bytes(pickle.dumps((plain, network("D", judge), averaged), protocol))
    return synthesis


# --- R3GAN ------------------------------------------------------------------------------------------------------------------------------

def r3gan(path, *, widths=(8, 8, 4), groups=(2, 2, 1), z=6, classes=0, embedding=5):
    """A pickle of brownvc/R3GAN: objects of its own classes; returns {"G_ema": state dict, "D": ...}."""
    taps = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64

    def block(prefix, width, cardinality):
        wide = 2 * width
        return {
            f"{prefix}.LinearLayer1.Layer.weight": drawn(wide, width, 1, 1), f"{prefix}.LinearLayer2.Layer.weight": drawn(wide, wide // cardinality, 3, 3),
            f"{prefix}.LinearLayer3.Layer.weight": drawn(width, wide, 1, 1), f"{prefix}.NonLinearity1.Bias": drawn(wide),
            f"{prefix}.NonLinearity2.Bias": drawn(wide),
        }  # fmt: skip

    def stages(widths, groups, up):
        state = {}
        for i, width in enumerate(widths):
            state |= block(f"Model.MainLayers.{i}.Layers.{1 if up else 0}", width, groups[i])
            other = (widths[i - 1] if i else None) if up else (widths[i + 1] if i + 1 < len(widths) else None)
            change = f"Model.MainLayers.{i}.Layers.{0 if up else 1}"
            state |= {f"{change}.Resampler.Kernel": taps} if other else {}
            state |= {f"{change}.LinearLayer.Layer.weight": drawn(*((width, other) if up else (other, width)), 1, 1)} if other not in (None, width) else {}
        return state

    generator = stages(widths, groups, True) | {
        "Model.MainLayers.0.Layers.0.Basis": drawn(widths[0], 4, 4),
        "Model.MainLayers.0.Layers.0.LinearLayer.weight": drawn(widths[0], z + (embedding if classes else 0)),
        "Model.AggregationLayer.Layer.weight": drawn(3, widths[-1], 1, 1),
    }  # fmt: skip
    last = f"Model.MainLayers.{len(widths) - 1}.Layers.1"
    judge = stages(widths[::-1], groups[::-1], False) | {
        "Model.ExtractionLayer.Layer.weight": drawn(widths[-1], 3, 1, 1), f"{last}.Basis.weight": drawn(widths[0], 1, 4, 4),
        f"{last}.LinearLayer.weight": drawn(widths[0] if classes else 1, widths[0]),
    }  # fmt: skip
    if classes:
        generator["Model.EmbeddingLayer.weight"], judge["Model.EmbeddingLayer.weight"] = drawn(embedding, classes), drawn(widths[0], classes)
    classes_of = {name: made(name, __getstate__=lambda self: self.given) for name in ("R3GAN.Networks.Generator", "R3GAN.Networks.Part")}

    def make(path, state):
        name = "R3GAN.Networks.Generator" if not path else "R3GAN.Networks.Part"
        whole = classes_of[name]()
        whole.given = state | {"DataType": torch.bfloat16}
        return whole

    with pretended(**{name.rpartition(".")[2]: each for name, each in classes_of.items()}, EasyDict=EasyDict):
        path.write_bytes(pickle.dumps({"G": None, "D": nested(judge, {}, make), "G_ema": nested(generator, {}, make), "training_set_kwargs": EasyDict()}))
    return {"G_ema": generator, "D": judge}


# --- rosinality -------------------------------------------------------------------------------------------------------------------------

def rosinality(path, *, average=True):
    """The .pt of rosinality/stylegan2-pytorch for 8x8; returns the state dict of g_ema."""
    w, width = 5, 6
    state = {"input.input": drawn(1, width, 4, 4)}
    for i in (1, 2, 3):
        state |= {f"style.{i}.weight": drawn(w, w) * 100, f"style.{i}.bias": drawn(w)}
    for name in ("conv1", "convs.0", "convs.1"):
        state |= {
            f"{name}.conv.weight": drawn(1, width, width, 3, 3), f"{name}.conv.modulation.weight": drawn(width, w),
            f"{name}.conv.modulation.bias": drawn(width), f"{name}.noise.weight": drawn(1), f"{name}.activate.bias": drawn(width),
        }  # fmt: skip
    for name in ("to_rgb1", "to_rgbs.0"):
        state |= {f"{name}.conv.weight": drawn(1, 3, width, 1, 1), f"{name}.conv.modulation.weight": drawn(width, w)}
        state[f"{name}.conv.modulation.bias"] = drawn(width)
        state[f"{name}.bias"] = drawn(1, 3, 1, 1)
    state |= {"convs.0.conv.blur.kernel": TAPS * 4, "to_rgbs.0.upsample.kernel": TAPS * 4}
    state |= {f"noises.noise_{i}": drawn(1, 1, side, side) for i, side in enumerate((4, 8, 8))}
    torch.save({"g_ema": state} | ({"latent_avg": drawn(w)} if average else {}), path)
    return state
