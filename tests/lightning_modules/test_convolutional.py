"""The convolutional network against torch's functions, linear maps and closed forms; counting parameters."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.convolutional import Convolutional, ConvolutionalNetwork, initialize_convolution
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.layers.initialization import weight_generator
from lightning_modules.parameters import matched_width, parameter_count
from lightning_modules.penalties import penalized_weights

IMAGE, TEXT = (2, 11, 10), (3, 12)


def network(shape: tuple[int, ...] = IMAGE, channels: list[int] | None = None, **changes: Any) -> ConvolutionalNetwork:
    return ConvolutionalNetwork(shape, 4, channels or [5, 6], **{"seed": 0, **changes}).double()


def samples(shape: tuple[int, ...] = IMAGE, n: int = 7) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("shape", [IMAGE, TEXT], ids=["image", "text"])
def test_equals_the_composition_of_functions(subtests: pytest.Subtests, shape: tuple[int, ...]) -> None:
    paddings, poolings = ["zeros", "circular", "none"], ["max", "average", "none"]
    for options in product(paddings, poolings, ["average", "flatten"], [True, False]):
        with subtests.test(str(options)):
            assert_composition(shape, *options)


def assert_composition(shape: tuple[int, ...], padding: str, pooling: str, head: str, training: bool) -> None:
    built = network(shape, padding=padding, pooling=pooling, head=head, normalization="batch", activation="tanh")
    built.train(training)
    if len(shape) == 3:
        convolve, pool, axes = F.conv2d, {"max": F.max_pool2d, "average": F.avg_pool2d}, (2, 3)
    else:
        convolve, pool, axes = F.conv1d, {"max": F.max_pool1d, "average": F.avg_pool1d}, (2,)
    z = x = samples(shape)
    for layer in built.layers:
        around = [1, 1] * len(axes)
        if padding != "none":
            z = F.pad(z, around, mode="circular" if padding == "circular" else "constant")
        a = convolve(z, layer.convolution.weight, layer.convolution.bias)
        over = (0, *axes)
        mean, variance = a.mean(over, keepdim=True), a.var(over, correction=0, keepdim=True)
        if not training:
            mean, variance = torch.zeros_like(mean), torch.ones_like(variance)
        z = torch.tanh((a - mean) / (variance + 1e-5).sqrt())
        z = z if pooling == "none" else pool[pooling](z, 2)
    z = z.mean(axes) if head == "average" else z.flatten(1)
    close(built(x), F.linear(z, built.output.weight, built.output.bias))


def test_a_kernel_of_one_is_a_linear_map_of_each_pixel() -> None:
    built = network(channels=[5], kernel_size=1, pooling="none", activation="identity")
    x, layer = samples(), built.layers[0]
    weight, bias = layer.convolution.weight.flatten(1), layer.convolution.bias
    close(layer(x), F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1))


@pytest.mark.parametrize("shape", [IMAGE, TEXT], ids=["image", "text"])
def test_maps_of_a_shifted_image_are_the_shifted_maps(shape) -> None:
    axes, x = tuple(range(2, len(shape) + 1)), samples(shape)
    shifted = x.roll([2] * len(axes), axes)
    # Two kernels of three reach two positions far. Where neither a border nor what went round it is in reach:
    insides = {"circular": slice(None), "zeros": slice(4, -2), "none": slice(2, None)}
    for padding, along in insides.items():
        built = network(shape, padding=padding, pooling="none")
        # To the layers, a sequence is an image of one row.
        maps, of_shifted = (t.reshape(*t.shape[:2], -1, t.shape[-1]) for t in (x, shifted))
        for layer in built.layers:
            maps, of_shifted = layer(maps), layer(of_shifted)
        if shape is TEXT:
            maps, of_shifted = maps.squeeze(2), of_shifted.squeeze(2)
        expected = maps.roll([2] * len(axes), axes)
        inside = (..., *(along for _ in axes))
        assert maps[inside].numel()
        close(of_shifted[inside], expected[inside])
        if padding == "circular":
            close(built(shifted), built(x))
        else:
            assert (of_shifted - expected).abs().max() > 0.01


@settings(max_examples=40)
@given(
    axes=st.integers(1, 2),
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    inputs=st.integers(1, 4),
    side=st.integers(8, 13),
    kernel=st.sampled_from([1, 3, 5]),
    pooling=st.sampled_from(["max", "none"]),
    head=st.sampled_from(["average", "flatten"]),
    batch_norm=st.booleans(),
)
def test_shapes_and_parameter_count(axes, channels, inputs, side, kernel, pooling, head, batch_norm) -> None:
    shape = (inputs, *[side + axis for axis in range(axes)])
    built = ConvolutionalNetwork(
        shape, 3, channels, seed=0, kernel_size=kernel, pooling=pooling, head=head,
        normalization="batch" if batch_norm else "none",
    )  # fmt: skip
    count, before, left = 0, inputs, list(shape[1:])
    for after in channels:
        count += after * (before * kernel**axes + 1) + 2 * after * batch_norm
        before, left = after, [size // 2 if pooling == "max" else size for size in left]
    features = before if head == "average" else before * int(torch.tensor(left).prod())
    assert parameter_count(built) == count + 3 * (features + 1)
    assert built(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize(("name", "variance"), [("default", 1 / 3), ("xavier", None), ("he", 2.0)])
def test_variance_of_the_initial_weights(name: str, variance: float | None) -> None:
    layer = nn.Conv2d(24, 48, 5)
    initialize_convolution(layer, name, 1.5, weight_generator(0, "layer"))
    n, m = 24 * 25, 48 * 25
    expected = 1.5**2 * (2 / (n + m) if variance is None else variance / n)
    # 28,800 draws: the standard error of a variance is 0.8 % (normal).
    assert layer.weight.var().item() == pytest.approx(expected, rel=0.03)
    assert abs(layer.weight.mean().item()) < 4 * (expected / layer.weight.numel()) ** 0.5
    bound = 1.5 * n**-0.5
    assert (0.8 * bound < layer.bias.abs().max() <= bound) if name == "default" else (layer.bias == 0).all()
    # Torch's own has the same fan-in.
    torch.nn.init.xavier_normal_(layer.weight)
    assert layer.weight.var().item() == pytest.approx(2 / (n + m), rel=0.03)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 40), (6, 5)])
def test_orthogonal_initial_weights(inputs: int, outputs: int) -> None:
    layer = nn.Conv1d(inputs, outputs, 3).double()
    initialize_convolution(layer, "orthogonal", 2.0, weight_generator(0, "layer"))
    matrix = layer.weight.flatten(1)
    product = matrix @ matrix.T if outputs <= 3 * inputs else matrix.T @ matrix
    # Rounded to single precision on the way.
    torch.testing.assert_close(product, 4 * torch.eye(len(product), dtype=torch.float64), atol=1e-5, rtol=0)


def test_weights_depend_on_seed_and_layer_only() -> None:
    before = torch.random.get_rng_state()
    one, other = network(), network(channels=[5, 6, 4], activation="tanh", normalization="batch", dropout=0.1)
    assert torch.equal(torch.random.get_rng_state(), before)
    for k in (0, 1):
        assert torch.equal(one.layers[k].convolution.weight, other.layers[k].convolution.weight)
    assert not torch.equal(one.layers[0].convolution.weight, network(seed=1).layers[0].convolution.weight)
    louder = network(gain=3.0)
    pair = (built.layers[1].convolution.weight for built in (louder, one))
    torch.testing.assert_close(next(pair), 3 * next(pair), atol=0, rtol=1e-6)  # rounded to single precision
    assert torch.equal(louder.output.weight, one.output.weight)


def test_gradient_by_finite_differences() -> None:
    built, x = network((1, 5, 4), [3], pooling="average", activation="tanh"), samples((1, 5, 4), 2)
    names, values = zip(*built.named_parameters(), strict=True)

    def outputs(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(built, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(outputs, values)


def test_dropout_in_training_only() -> None:
    built, x = network(dropout=0.5), samples()
    assert not torch.equal(built(x), built(x))
    built.eval()
    close(built(x), network()(x))


@pytest.mark.parametrize("shape", [IMAGE, TEXT], ids=["image", "text"])
def test_penalties_leave_scales_and_biases_alone(shape) -> None:
    built = network(shape, normalization="batch")
    expected = [*(layer.convolution.weight for layer in built.layers), built.output.weight]
    found = penalized_weights(built)
    assert {id(weight) for weight in found} == {id(weight) for weight in expected}
    assert len(found) == 3
    built.output.requires_grad_(False)
    assert len(penalized_weights(built)) == 2


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ((64,), {}, r"samples of shape \(channels, height, width\) or \(channels, length\), not \(64,\)"),
        ((1, 8, 8), {"channels": []}, "channels must list at least one"),
        ((1, 8, 8), {"channels": [4, 0]}, "the size of a layer must be a whole number >= 1, not 0"),
        ((1, 8, 8), {"kernel_size": 4}, "kernel_size must be odd with padding=zeros, not 4"),
        ((1, 8, 8), {"channels": [2] * 4}, "layer 4 of 4 is given 1 × 1 positions, too few for kernel_size=3 with"),
        ((1, 8, 4), {"channels": [2], "kernel_size": 5, "padding": "none"}, "layer 1 of 1 is given 8 × 4 positions"),
        ((1, 9), {"channels": [2], "kernel_size": 9, "padding": "none"}, "layer 1 of 1 is given 9 positions"),
        ((1, 8, 2), {"channels": [2], "kernel_size": 7, "padding": "circular"}, "is given 8 × 2 positions"),
        ((1, 8, 8), {"padding": "same"}, "unknown padding 'same': valid: zeros, circular, none"),
        ((1, 8, 8), {"pooling": "mix"}, r"unknown pooling 'mix': did you mean 'max'\?"),
        ((1, 8, 8), {"head": "flat"}, r"unknown head 'flat': did you mean 'flatten'\?"),
        ((1, 8, 8), {"normalization": "layer"}, "unknown normalization 'layer': valid: none, batch"),
        ((1, 8, 8), {"activation": "relus"}, r"unknown activation 'relus': did you mean 'relu'\?"),
        ((1, 8, 8), {"initialization": "glorot"}, "unknown initialization 'glorot'"),
        ((1, 8, 8), {"gain": -1.0}, "gain must be a finite number > 0, not -1.0"),
        ((1, 8, 8), {"dropout": 1.0}, "dropout must be"),
    ],
)
def test_bad_arguments(shape: tuple[int, ...], changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"sample_shape": shape, "num_classes": 3, "seed": 0, "channels": [4, 4], **changes}
    with pytest.raises(ValueError, match=message) as error:
        Convolutional(**arguments)
    assert "\n" not in str(error.value)


def test_the_smallest_samples_that_do() -> None:
    for changes in (
        {"kernel_size": 5, "padding": "none", "pooling": "none"},
        {"kernel_size": 9, "padding": "circular"},
    ):
        side = 5 if "pooling" in changes else 4
        assert network((1, side, side), [3], **changes)(samples((1, side, side))).shape == (7, 4)


def test_a_batch_of_another_shape() -> None:
    for x in (samples().flatten(1), samples((2, 10, 11)), samples()[0]):
        with pytest.raises(ValueError, match=r"a batch must have samples of shape \(2, 11, 10\); its shape is"):
            network()(x)


def stripes(n: int = 96) -> tuple[Tensor, Tensor]:
    """Horizontal or vertical bright lines anywhere in noise."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 1, 8, 8, generator=g), torch.arange(n) % 2
    for image, label, place in zip(x, y, torch.randint(8, (n,), generator=g), strict=True):
        image[0].select(int(label), int(place)).add_(3)
    return x, y


def test_it_learns_repeats_itself_and_comes_back_from_a_checkpoint(trainer: Any, tmp_path: Path) -> None:
    x, y = stripes()
    finals = []
    for _ in range(2):
        model = Convolutional(sample_shape=(1, 8, 8), num_classes=2, channels=[6, 8], seed=0, lr=0.02, l2=1e-4,
                              normalization="batch")  # fmt: skip
        run = trainer(max_epochs=12)
        run.fit(model, DataLoader(TensorDataset(x, y), batch_size=32))
        finals.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*finals)
    assert run.callback_metrics["train/accuracy"].item() > 0.95
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Convolutional.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert torch.equal(loaded.eval()(x), model.eval()(x))


@settings(max_examples=30)
@given(target=st.integers(1, 3000), depth=st.integers(1, 3))
def test_matched_width_is_the_nearest_of_all(target: int, depth: int) -> None:
    def build(width: int) -> FullyConnectedNetwork:
        return FullyConnectedNetwork(7, 3, [width] * depth, seed=0)

    # By its formula: weights and biases of each layer.
    counts = {w: (7 + 1) * w + (depth - 1) * (w + 1) * w + 3 * (w + 1) for w in range(1, 300)}
    best = min(counts, key=lambda w: (abs(counts[w] - target), w))
    assert matched_width(target, build) == best
    assert parameter_count(build(best)) == counts[best]


def test_frozen_parameters_are_not_counted() -> None:
    built = FullyConnectedNetwork(7, 3, [5], seed=0)
    built.output.requires_grad_(False)
    assert parameter_count(built) == 7 * 5 + 5
    with pytest.raises(ValueError, match="target must be a whole number >= 1, not 0"):
        matched_width(0, lambda width: nn.Linear(width, 1))
