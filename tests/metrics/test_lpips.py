import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from agon.errors import Unavailable, UserError
from agon.metrics import lpips_diversity as diversity_file
from agon.metrics.features.vgg import alexnet, open_extractor, vgg16
from agon.metrics.lpips import distances, lpips_distance, measure, open_lpips
from agon.metrics.lpips_diversity import disjoint_pairs, diversity
from agon.metrics.samples import Samples
from agon.metrics.sides import ArraySide

# torchvision's published files: index in `features`, outputs, inputs, kernel
PUBLISHED = {
    "vgg": [(0, 64, 3, 3), (2, 64, 64, 3), (5, 128, 64, 3), (7, 128, 128, 3), (10, 256, 128, 3), (12, 256, 256, 3), (14, 256, 256, 3), (17, 512, 256, 3),
            (19, 512, 512, 3), (21, 512, 512, 3), (24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3)],
    "alex": [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)],
}
# before each convolution: window of the largest value (0: none); stride and padding of the convolution; is its ReLU read?
COURSE = {
    "alex": [(0, 4, 2, True), (3, 1, 2, True), (3, 1, 1, True), (0, 1, 1, True), (0, 1, 1, True)],
}
COURSE["vgg"] = [(2 if first and block else 0, 1, 1, last) for block, count in enumerate((2, 2, 3, 3, 3))
                 for first, last in [(place == 0, place == count - 1) for place in range(count)]]  # fmt: skip


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Random weights (He) in files with the published names, for both networks: name -> (trunk, heads)."""
    folder, found = tmp_path_factory.mktemp("lpips"), {}
    random = torch.Generator().manual_seed(1)
    for name, layers in PUBLISHED.items():
        state = {"classifier.6.bias": torch.zeros(1000)}
        for index, outputs, inputs, kernel in layers:
            state[f"features.{index}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=random) * (2 / (inputs * kernel**2)) ** 0.5
            state[f"features.{index}.bias"] = torch.randn(outputs, generator=random) * 0.1
        read = [outputs for (_, outputs, *_), (*_, tap) in zip(layers, COURSE[name], strict=True) if tap]
        heads = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=random) for i, width in enumerate(read)}
        found[name] = folder / f"{name}.safetensors", folder / f"{name}-heads.safetensors"
        save_file(state, found[name][0])
        save_file(heads, found[name][1])
        found[name + " tensors"] = state, heads
    return found


@pytest.fixture(scope="session")
def nets(files):
    return {name: open_lpips(name, trunk=files[name][0], heads=files[name][1]) for name in PUBLISHED}


def stages(name, state, x):
    """The maps that LPIPS reads, in float64, from the table above."""
    for (index, *_), (window, stride, padding, tap) in zip(PUBLISHED[name], COURSE[name], strict=True):
        x = F.max_pool2d(x, window, 2) if window else x
        x = F.conv2d(x, state[f"features.{index}.weight"].double(), state[f"features.{index}.bias"].double(), stride, padding).clamp(min=0)
        if tap:
            yield x


def reference(name, state, heads, x, y):
    """Equation 1 of the paper for pictures in [-1, 1], place by place in numpy."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    maps = []
    for part in (x, y):
        normal = (part.double().numpy() - shift[None, :, None, None]) / scale[None, :, None, None]
        maps.append([found.numpy() for found in stages(name, state, torch.from_numpy(normal))])
    total = np.zeros(len(x))
    for depth, (one, two) in enumerate(zip(*maps, strict=True)):
        weight = heads[f"lin{depth}.model.1.weight"].double().numpy().ravel()
        step = one / np.linalg.norm(one, axis=1)[:, None] - two / np.linalg.norm(two, axis=1)[:, None]
        total += np.einsum("nchw,c->n", step**2, weight) / (one.shape[2] * one.shape[3])
    return total


def pictures(count, side, seed=0):
    """uint8 (count, 3, side, side): discs and stripes on slopes."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    made = []
    for _ in range(count):
        a, b, cx, cy, size, turn = random.random(6)
        base = 0.3 + 0.4 * (a * rows + b * columns)
        disc = ((rows - 0.2 - 0.6 * cx) ** 2 + (columns - 0.2 - 0.6 * cy) ** 2 < (0.1 + 0.15 * size) ** 2)[None] * random.uniform(-0.4, 0.4, (3, 1, 1))
        stripes = 0.15 * (np.sin(40 * (rows * turn + columns * (1 - turn))) > 0.6)
        made.append(np.clip(base[None] + disc + stripes[None], 0, 1))
    return (255 * np.stack(made)).round().astype(np.uint8)


def signed(pictures):
    return torch.from_numpy(pictures).float() / 127.5 - 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_an_independent_implementation(name, nets, files):
    state, heads = files[name + " tensors"]
    x, y = signed(pictures(2, 48)), signed(pictures(2, 48, seed=1))
    x, y = x[..., :41], y[..., :41]  # sides that do not divide
    expected = reference(name, state, heads, x, y)
    assert lpips_distance(nets[name], x, y).numpy() == pytest.approx(expected, rel=1e-5)
    assert (expected > 0.01).all()


@pytest.mark.parametrize(("name", "make"), [("vgg", vgg16), ("alex", alexnet)])
def test_names_and_shapes_are_the_published_ones(name, make):
    with torch.device("meta"):
        found = {key: tuple(value.shape) for key, value in make().state_dict().items()}
    expected = {}
    for index, outputs, inputs, kernel in PUBLISHED[name]:
        expected |= {f"features.{index}.weight": (outputs, inputs, kernel, kernel), f"features.{index}.bias": (outputs,)}
    assert found == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_grows_with_noise_and_blur(name, nets):
    clean = pictures(4, 64)
    noise = np.random.default_rng(3).standard_normal(clean.shape)
    noisy = [np.clip(clean + strength * noise, 0, 255).round().astype(np.uint8) for strength in (8, 24, 64)]
    blurred = [gaussian_filter(clean, (0, 0, strength, strength)) for strength in (0.6, 1.2, 3)]
    assert distances(nets[name], torch.from_numpy(clean), torch.from_numpy(clean)).tolist() == [0] * 4
    for damaged in (noisy, blurred):
        found = np.stack([distances(nets[name], torch.from_numpy(clean), torch.from_numpy(part)) for part in damaged])
        assert (found[0] > 1e-4).all() and (np.diff(found, axis=0) > 0).all()


def test_a_pair_does_not_depend_on_the_others_and_sides_can_be_swapped(nets):
    x, y = torch.from_numpy(pictures(5, 40)), torch.from_numpy(pictures(5, 40, seed=1))
    together = distances(nets["vgg"], x, y)
    alone = np.concatenate([distances(nets["vgg"], one[None], two[None]) for one, two in zip(x, y, strict=True)])
    assert together == pytest.approx(alone, rel=1e-5)
    assert distances(nets["vgg"], y.flip(0), x.flip(0))[::-1] == pytest.approx(together, rel=1e-5)


def test_many_pictures_pass_in_batches(nets, monkeypatch):
    x, y = torch.from_numpy(pictures(5, 32)), torch.from_numpy(pictures(5, 32, seed=1))
    whole = distances(nets["vgg"], x, y)
    monkeypatch.setattr("agon.metrics.lpips.PIXELS", 2 * 2 * 32 * 32)
    assert distances(nets["vgg"], x, y) == pytest.approx(whole, rel=1e-5)


def test_grey_is_repeated(nets):
    x, y = torch.from_numpy(pictures(2, 32))[:, :1], torch.from_numpy(pictures(2, 32, seed=1))[:, :1]
    assert distances(nets["vgg"], x, y) == pytest.approx(distances(nets["vgg"], x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)), rel=1e-6)


def test_slope_equals_finite_differences(files):
    net = open_lpips("alex", trunk=files["alex"][0], heads=files["alex"][1]).double()
    x, y = signed(pictures(1, 32)).double().requires_grad_(), signed(pictures(1, 32, seed=1)).double()
    along = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = float((torch.autograd.grad(lpips_distance(net, x, y).sum(), x)[0] * along).sum())
    with torch.no_grad():
        ahead, behind = (float(lpips_distance(net, x + step * along, y)) for step in (1e-6, -1e-6))
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-4)


def test_slope_is_finite_where_all_features_are_zero(files):
    net = open_lpips("alex", trunk=files["alex"][0], heads=files["alex"][1])
    for parameter in net.trunk.features[0].parameters():
        parameter.data.zero_()
    net.trunk.features[0].bias.data -= 1  # every first feature is now 0, for any picture
    x = signed(pictures(2, 32)).requires_grad_()
    value = lpips_distance(net, x, signed(pictures(2, 32, seed=1)))
    slope = torch.autograd.grad(value.sum(), x)[0]
    assert value.tolist() == [0, 0] and torch.isfinite(slope).all()


def test_files_of_other_networks_are_refused(files):
    with pytest.raises(UserError, match="does not hold this network's weights"):
        open_lpips("vgg", trunk=files["alex"][0], heads=files["vgg"][1])
    with pytest.raises(UserError, match="lin1.model.1.weight of 128 channels"):
        open_lpips("vgg", trunk=files["vgg"][0], heads=files["alex"][1])
    with pytest.raises(UserError, match="Expected one of: vgg, alex"):
        open_lpips("resnet")


def test_without_the_weights_there_is_no_number(tmp_path, monkeypatch, files):
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"not these")
    monkeypatch.setenv("AGON_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match="vgg16-397923af.pth"):
        open_lpips("vgg", heads=files["vgg"][1])


@pytest.mark.parametrize(("name", "least"), [("vgg", 16), ("alex", 31)])
def test_least_size(nets, name, least):
    x = torch.zeros(1, 3, least, 40)
    assert lpips_distance(nets[name], x, x).tolist() == [0]
    with pytest.raises(Unavailable, match=f"at least {least} pixels"):
        lpips_distance(nets[name], x[:, :, 1:], x[:, :, 1:])


def test_pictures_of_two_sizes_are_refused(nets):
    with pytest.raises(UserError, match="one size"):
        distances(nets["vgg"], torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 3, 32, 33, dtype=torch.uint8))


def test_measure_is_the_mean_over_the_pairs(nets, files):
    real, fake = pictures(5, 32), pictures(5, 32, seed=1)
    weights = {"vgg": files["vgg"][0], "lpips": files["vgg"][1], "alex": files["alex"][0], "lpips_alex": files["alex"][1]}
    one, two = measure(Samples.of_arrays(real, fake, weights=weights), ["lpips", "lpips_alex"])
    for name, found in (("vgg", one), ("alex", two)):
        values = reference(name, *files[name + " tensors"], signed(real), signed(fake))
        assert found["value"] == pytest.approx(values.mean(), rel=1e-5)
        assert found["standard_error"] == pytest.approx(values.std(ddof=1) / 5**0.5, rel=1e-4)
        assert found["protocol"]["trunk_sha256"] == nets[name].sha256["trunk"] and len(found["protocol"]["heads_sha256"]) == 64
    assert one["metric"] == "lpips" and two["metric"] == "lpips_alex" and one["num_fake"] == 5


@pytest.mark.parametrize("label", [None, np.arange(101) % 7])
def test_pairs_are_disjoint_and_within_a_class(label):
    pairs = disjoint_pairs(101, 1_000, label)
    assert len(np.unique(pairs)) == pairs.size
    assert len(pairs) == (50 if label is None else sum(int((label == number).sum()) // 2 for number in range(7)))
    if label is not None:
        assert (label[pairs[:, 0]] == label[pairs[:, 1]]).all()
    assert (disjoint_pairs(101, 12, label) == pairs[:12]).all()


def test_diversity_is_the_mean_over_its_pairs_and_0_after_a_collapse(nets, files, monkeypatch):
    real, fake = pictures(8, 32), pictures(12, 32, seed=1)
    label = np.arange(12) % 2
    samples = Samples.of_arrays(real, fake, fake_label=label, real_label=np.arange(8) % 2, weights={"vgg": files["vgg"][0], "lpips": files["vgg"][1]})
    found = diversity_file.measure(samples, ["lpips_diversity"])[0]
    pairs = disjoint_pairs(12, 500, label)
    values = distances(nets["vgg"], torch.from_numpy(fake[pairs[:, 0]]), torch.from_numpy(fake[pairs[:, 1]]))
    assert found["value"] == pytest.approx(values.mean(), rel=1e-5) and found["protocol"]["within_class"]
    assert found["standard_error"] == pytest.approx(values.std(ddof=1) / len(values) ** 0.5, rel=1e-4)
    own = disjoint_pairs(8, len(pairs), np.arange(8) % 2)
    expected = distances(nets["vgg"], torch.from_numpy(real[own[:, 0]]), torch.from_numpy(real[own[:, 1]]))
    assert found["reference"]["perfect_sampler"]["value"] == pytest.approx(expected.mean(), rel=1e-5)

    monkeypatch.setattr(diversity_file, "HELD", 2 * 2 * 3 * 32 * 32)  # two pairs in a pass
    assert diversity(nets["vgg"], samples.fake, pairs) == pytest.approx(values, rel=1e-5)
    collapsed = ArraySide(np.repeat(fake[:1], 6, axis=0))
    assert diversity(nets["vgg"], collapsed, disjoint_pairs(6)).tolist() == [0, 0, 0]


def test_diversity_needs_two_pairs():
    three = pictures(3, 32)
    with pytest.raises(Unavailable, match="at least 2 pairs"):
        diversity_file.measure(Samples.of_arrays(three, three), ["lpips_diversity"])


def test_extractor_equals_an_independent_implementation(files):
    extractor = open_extractor("vgg", weights=files["vgg"][0])
    colour = torch.from_numpy(pictures(2, 224))
    small = torch.from_numpy(pictures(1, 100))
    found = extractor.run(colour)["features"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()

    def features(x):
        *_, last = stages("vgg", files["vgg tensors"][0], (x - mean[:, None, None]) / std[:, None, None])
        return last.mean((2, 3))

    expected = features(colour[1:].double() / 255)
    assert found.shape == (2, 512) == (2, extractor.layers["features"])
    assert float((found[1:] - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert float((extractor.run(colour[1:])["features"] - found[1:]).abs().max()) < 1e-6 * float(expected.abs().max())
    enlarged = F.interpolate(small.double() / 255, (224, 224), mode="bilinear", align_corners=False)  # antialiasing does nothing to enlarged pictures
    assert torch.allclose(extractor.run(small)["features"].double(), features(enlarged), rtol=1e-3, atol=1e-4)
