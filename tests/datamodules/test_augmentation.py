"""Augmentation against slices, direct loops and torchvision image by image; its draws against their definition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandomErasing, TrivialAugmentWide
from torchvision.transforms.v2 import functional

from datamodules import Digits
from datamodules.augmentation import OPERATIONS, Augmentation, parse_operations
from datamodules.base import InMemoryDataModule, Source
from datamodules.image_operations import Affine, Erase, Flip, Shift, affine, erase, flip, shift
from datamodules.loader import generator

SIZES = {"num_train": 40, "num_val": 20, "num_test": 20}
BATCHED = ("shift", "flip", "affine", "erase")


@st.composite
def batches(draw, dtypes=(torch.uint8, torch.float32, torch.float64)) -> Tensor:
    """Images (n, channels, height, width), of which no two pixels of a plane are alike."""
    n, channels = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    height, width = draw(st.integers(4, 12)), draw(st.integers(4, 12))
    values = torch.stack([torch.randperm(height * width) for _ in range(n * channels)]) + 1
    dtype = draw(st.sampled_from(dtypes))
    scale = 1 if dtype == torch.uint8 else height * width
    return (values / scale).to(dtype).reshape(n, channels, height, width)


@given(x=batches(), data=st.data())
def test_a_shift_is_a_slice_and_black(x, data):
    n, _, height, width = x.shape
    reach = st.tuples(st.integers(-width - 1, width + 1), st.integers(-height - 1, height + 1))
    offset = torch.tensor(data.draw(st.lists(reach, min_size=n, max_size=n)))
    moved = shift(x, offset)
    assert moved.dtype == x.dtype
    for image, result, (right, down) in zip(x, moved, offset.tolist(), strict=True):
        expected = torch.zeros_like(image)
        if abs(right) < width and abs(down) < height:
            to = (slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
            source = (slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0)))
            expected[:, to[0], to[1]] = image[:, source[0], source[1]]
        assert torch.equal(result, expected)


@given(x=batches(), data=st.data())
def test_a_flip_exchanges_left_and_right_where_it_is_drawn(x, data):
    mirrored = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))))
    for image, result, hit in zip(x, flip(x, mirrored), mirrored, strict=True):
        assert torch.equal(result, torch.flip(image, [-1]) if hit else image)


@given(x=batches(), data=st.data())
def test_a_rectangle_is_blackened_pixel_by_pixel(x, data):
    _, _, height, width = x.shape
    one = st.tuples(*(st.integers(0, side) for side in (height - 1, width - 1, height, width)))
    rectangles = torch.tensor(data.draw(st.lists(one, min_size=len(x), max_size=len(x))))
    expected = x.clone()
    for image, (top, left, h, w) in zip(expected, rectangles.tolist(), strict=True):
        for row in range(top, min(top + h, height)):
            for column in range(left, min(left + w, width)):
                image[:, row, column] = 0
    assert torch.equal(erase(x, rectangles), expected)


@settings(max_examples=60)
@given(x=batches(dtypes=(torch.float32, torch.float64)), data=st.data())
def test_every_row_is_moved_as_torchvision_moves_one_image(x, data):
    one = st.tuples(
        *(st.floats(-180, 180), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.5, 2)),
        *(st.floats(-40, 40), st.floats(-40, 40)),
    )
    parameters = torch.tensor(data.draw(st.lists(one, min_size=len(x), max_size=len(x))), dtype=torch.float64)
    for image, result, (angle, right, down, scale, *shear) in zip(
        x, affine(x, parameters), parameters.tolist(), strict=True
    ):
        expected = functional.affine(
            image, angle, [right, down], scale, shear, interpolation=functional.InterpolationMode.BILINEAR
        )
        # Of a range of 1; torchvision builds its grid from rounded numbers.
        torch.testing.assert_close(result, expected, rtol=0, atol=4e-4)


def test_an_affine_map_without_effect_changes_nothing():
    x = torch.rand(3, 2, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(affine(x, torch.tensor([[0.0, 0, 0, 1, 0, 0]]).repeat(3, 1)), x, rtol=0, atol=1e-12)


def test_a_quarter_turn_is_clockwise():
    x = torch.rand(2, 3, 8, 8)
    turned = affine(x, torch.tensor([[90.0, 0, 0, 1, 0, 0], [0.0, 0, 0, 1, 0, 0]]))
    torch.testing.assert_close(turned[0], x[0].rot90(-1, (1, 2)), rtol=0, atol=1e-5)
    torch.testing.assert_close(turned[1], x[1], rtol=0, atol=1e-5)


def test_draws_fill_their_ranges_evenly():
    draws, n = torch.Generator().manual_seed(0), 4000
    offsets = Shift(3).draw(n, (8, 9), draws)
    for column in offsets.T:
        # 7 cells of about 571: χ² below its 99.9 % point.
        assert (
            stats.chisquare(column.bincount(minlength=0) if column.min() >= 0 else (column + 3).bincount()).pvalue
            > 1e-3
        )
    assert abs(int(Flip(0.3).draw(n, (8, 9), draws).sum()) - 0.3 * n) < 4 * math.sqrt(n * 0.3 * 0.7)
    drawn = Affine(degrees=10, translation=0.2, scale=0.3, shear=4).draw(n, (8, 20), draws).double()
    low = torch.tensor([-10, -4, -1.6, 0.7, -4, -4])
    high = torch.tensor([10, 4, 1.6, 1.3, 4, 4])
    for column, a, b in zip(drawn.T, low.tolist(), high.tolist(), strict=True):
        assert stats.kstest(column.numpy(), stats.uniform(a, b - a).cdf).pvalue > 1e-3
    assert Affine(0, 0, 0, 0).draw(2, (8, 8), draws).tolist() == [[0, 0, 0, 1, 0, 0]] * 2


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (32, 12)])
def test_rectangles_are_distributed_like_those_of_torchvision(size):
    n = 3000
    ours = Erase(1.0).draw(n, size, torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.zeros(1, *size)
        theirs = [RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(n)]
    for column in range(4):
        assert stats.ks_2samp(ours[:, column].numpy(), [row[column] for row in theirs]).pvalue > 1e-3
    top, left, height, width = ours.T
    assert (height < size[0]).all()
    assert (width < size[1]).all()
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()


def test_half_of_the_images_are_erased_if_nothing_is_said():
    drawn = parse_operations(["erase"])[0].draw(4000, (28, 28), torch.Generator().manual_seed(0))
    assert abs(int((drawn[:, 2] > 0).sum()) - 2000) < 4 * math.sqrt(1000)


def augmentation(*words: str, images: Tensor | None = None, seed: int = 1000, repeats: int = 1) -> Augmentation:
    return Augmentation(parse_operations(words), pixels() if images is None else images, seed=seed, repeats=repeats)


def pixels(n: int = 30, channels: int = 1, height: int = 12, width: int = 10) -> Tensor:
    images = torch.randint(0, 256, (n, channels, height, width), generator=torch.Generator().manual_seed(0))
    return images.float() / 255


EVERY = [[name] for name in OPERATIONS] + [
    ["shift", "flip", "affine", "erase"],
    ["trivial_augment(copies=2)", "flip"],
]


@pytest.mark.parametrize("words", EVERY, ids="+".join)
def test_a_sample_depends_on_seed_epoch_and_row_alone(words):
    whole = augmentation(*words)(torch.arange(30), 3)
    assert whole.shape == (30, 1, 12, 10)
    assert whole.dtype == torch.float32
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    # Another order, other batch sizes, another history, another state of the global generator.
    other = augmentation(*words)
    other(torch.tensor([5]), 2)
    torch.manual_seed(77)
    for size in (1, 7, 30):
        for rows in order.split(size):
            assert torch.equal(other(rows, 3), whole[rows])
    assert not torch.equal(augmentation(*words, seed=1001)(torch.arange(30), 3), whole)
    assert not torch.equal(other(torch.arange(30), 4), whole)
    # More training samples do not change those that were there: what holds the first of them draws the same.
    longer = augmentation(*words, images=pixels().repeat(3, 1, 1, 1))
    torch.testing.assert_close(longer(torch.arange(30), 3), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("words", EVERY, ids="+".join)
def test_equal_images_of_a_batch_get_draws_of_their_own(words):
    images = pixels(1, channels=3).expand(30, -1, -1, -1)
    shown = augmentation(*words, images=images)(torch.arange(30), 0)
    distinct = len({image.numpy().tobytes() for image in shown})
    assert distinct == 2 if words == ["flip"] else distinct > 10
    # So do duplicates: variation, where they alone are mass.
    twice = augmentation(*words, images=images[:1], repeats=30)(torch.arange(30), 0)
    assert torch.equal(twice, shown)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_has_a_stream_of_its_own(name):
    (operation,) = parse_operations([name])
    expected = operation.draw(30, (12, 10), generator(1000, f"augmentation/5/{name}"))
    assert torch.equal(augmentation(name).parameters(5)[0], expected)


def test_one_operation_more_moves_no_draw():
    for alone, table in zip(BATCHED, augmentation(*BATCHED).parameters(5), strict=True):
        assert torch.equal(augmentation(alone).parameters(5)[0], table)


def test_operations_follow_each_other_as_listed():
    x, rows = pixels(), torch.arange(30)
    there, back = augmentation("shift(4)", "erase(1)"), augmentation("erase(1)", "shift(4)")
    offset, rectangles = there.parameters(0)
    assert torch.equal(there(rows, 0), erase(shift(x, offset), rectangles))
    assert torch.equal(back(rows, 0), shift(erase(x, rectangles), offset))


TRANSFORMS = {
    "autoaugment_svhn": AutoAugment(AutoAugmentPolicy.SVHN),
    "autoaugment_cifar10": AutoAugment(AutoAugmentPolicy.CIFAR10),
    "autoaugment_imagenet": AutoAugment(AutoAugmentPolicy.IMAGENET),
    "trivial_augment": TrivialAugmentWide(),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_policy_is_torchvision_s_image_by_image(name, channels):
    images = pixels(25, channels)
    ours = augmentation(name, images=images)
    shown, (seeds,) = ours(torch.arange(25), 2), ours.parameters(2)
    assert len(set(seeds.tolist())) == 25
    with torch.random.fork_rng(devices=[]):
        for image, result, seed in zip(images, shown, seeds.tolist(), strict=True):
            torch.manual_seed(seed)
            expected = TRANSFORMS[name]((image * 255).round().to(torch.uint8))
            assert torch.equal((result * 255).round().to(torch.uint8), expected)
            torch.testing.assert_close(result, expected / 255, rtol=0, atol=1e-7)


def test_copies_are_the_first_epochs_over_and_over(monkeypatch):
    fresh, cycled, rows = augmentation("trivial_augment"), augmentation("trivial_augment(copies=3)"), torch.arange(30)
    for epoch in (4, 0, 7, 2, 1):
        torch.testing.assert_close(cycled(rows, epoch), fresh(rows, epoch % 3), rtol=0, atol=1e-6)
    monkeypatch.setattr(TrivialAugmentWide, "forward", lambda *_: pytest.fail("every copy was there"))
    cycled(rows, 9)
    # What is done after the policy is new in every epoch.
    flipped = augmentation("trivial_augment(copies=1)", "shift")
    monkeypatch.undo()
    assert not torch.equal(flipped(rows, 0), flipped(rows, 1))


class Photographs(InMemoryDataModule):
    """Eighty small colour images that are not square and nowhere black."""

    name = "photographs"
    num_classes = 4
    per_feature = False
    sample_shape = (3, 6, 9)

    def __init__(self, **options) -> None:
        super().__init__(**{"batch_size": 16, "seed": 1000} | SIZES | options)

    def load(self) -> Source:
        return Source(torch.randint(1, 256, (80, 3, 6, 9), generator=torch.Generator().manual_seed(0)).byte(), LABELS)

    def features(self, x: Tensor) -> Tensor:
        return x.float() / 255


LABELS = torch.arange(80) % 4


def ready(**options) -> Photographs:
    module = Photographs(**options)
    module.setup()
    return module


def epoch_of(module: InMemoryDataModule, epoch: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and targets of an epoch, put back into the order of the training split."""
    loader = module.train_dataloader()
    loader.order.set_epoch(epoch)
    x, y = (torch.cat(part) for part in zip(*loader, strict=True))
    back = loader.order.rows(epoch).argsort()
    return x[back], y[back]


@pytest.mark.parametrize("options", [{}, {"permute": True}, {"standardize": False}, {"duplicates": 2}])
def test_raw_pixels_are_augmented_then_permuted_and_standardised(options):
    plain, module = (
        ready(standardize=False, duplicates=options.get("duplicates", 0)),
        ready(augmentation=["shift", "erase(1)"], **options),
    )
    raw = plain.train[0]
    offset, rectangles = module._augmentation.parameters(1)
    expected = erase(shift(raw, offset), rectangles)
    if options.get("permute"):
        order = module._permuted(torch.arange(54).reshape(1, 1, 6, 9)).flatten()
        assert torch.equal(ready(permute=True, standardize=False).train[0].flatten(2), raw.flatten(2)[..., order])
        expected = expected.flatten(2)[..., order].reshape(expected.shape)
    if options.get("standardize", True):
        mean, std = (f(raw[:40].double(), dim=(0, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
        std *= math.sqrt((40 * 54 - 1) / (40 * 54))
        expected = (expected.double() - mean) / std
        # What came in from outside is black, which is no longer 0.
        black = (-mean / std).float()[0, :, 0, 0]
        assert black.max() < -1
        assert torch.isclose(epoch_of(module, 1)[0].amin((0, 2, 3)), black, rtol=0, atol=1e-5).all()
    torch.testing.assert_close(epoch_of(module, 1)[0], expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("words", [["affine", "flip", "shift", "erase"], ["autoaugment_svhn"]])
def test_only_training_inputs_change(words):
    plain, module = ready(label_noise=0.5, duplicates=1), ready(label_noise=0.5, duplicates=1, augmentation=words)
    x, y = epoch_of(module, 3)
    assert torch.equal(y, plain.train[1])
    assert not torch.isclose(x, plain.train[0]).flatten(1).all(1).all()
    # Split, statistics and everything that is evaluated stay as they are.
    for part in ("train", "val", "test"):
        for one, other in zip(getattr(module, part), getattr(plain, part), strict=True):
            assert torch.equal(one, other)
    for loader in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        for one, other in zip(getattr(module, loader)(), getattr(plain, loader)(), strict=True):
            assert torch.equal(one[0], other[0])
    assert torch.equal(module.train_dataloader().order.rows(3), plain.train_dataloader().order.rows(3))


def test_an_operation_that_does_nothing_gives_back_the_very_bytes():
    module = ready(augmentation=["flip(0)"], permute=True)
    assert torch.equal(epoch_of(module)[0], module.train[0])


@pytest.mark.parametrize("stop", range(4))
@pytest.mark.parametrize("words", [["shift", "flip", "erase"], ["autoaugment_svhn(copies=2)", "affine"]], ids="+".join)
def test_a_resumed_epoch_shows_the_same_images(stop, words):
    whole = ready(augmentation=words).train_dataloader()
    whole.order.set_epoch(3)
    expected = [x for x, _ in whole]

    interrupted = ready(augmentation=words)
    loader = interrupted.train_dataloader()
    loader.order.set_epoch(3)
    iterator = iter(loader)
    seen = [next(iterator)[0] for _ in range(stop)]
    resumed = ready(augmentation=words)
    resumed.load_state_dict(interrupted.state_dict())
    loader = resumed.train_dataloader()
    loader.order.set_epoch(3)
    seen += [x for x, _ in loader]
    assert len(seen) == len(expected) == 3
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for words in EVERY:
        epoch_of(ready(augmentation=words))
    assert torch.equal(torch.rand(3), expected)


def test_it_trains_under_a_trainer_with_another_draw_every_epoch(recorder, make_trainer):
    network = recorder(64)
    network.layer = torch.nn.Sequential(torch.nn.Flatten(), network.layer)
    module = Digits(batch_size=20, seed=1000, augmentation=["shift(1)"], **SIZES)
    make_trainer(max_epochs=2).fit(network, module)
    for epoch in range(2):
        seen = [row for e, rows in network.seen if e == epoch for row in rows]
        x = epoch_of(module, epoch)[0][module.train_dataloader().order.rows(epoch)]
        assert seen == [row.tobytes() for row in x.numpy()]
    assert not torch.equal(epoch_of(module, 0)[0], epoch_of(module, 1)[0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["shfit"],
            "unknown augmentation 'shfit': did you mean 'shift'? valid: shift, flip, affine, erase, autoaugment",
        ),
        (["autoaugment"], "unknown augmentation 'autoaugment': did you mean 'autoaugment_"),
        (["mixup"], "unknown augmentation 'mixup': valid: shift"),
        ([], "augmentation is an empty list: leave it out for none"),
        (["flip", "shift", "flip"], "augmentation flip is given twice"),
        (
            ["flip", "trivial_augment"],
            "augmentation trivial_augment must be the first of the list, and the only policy",
        ),
        (["shift(0)"], "augmentation shift: pixels must be a whole number >= 1, not 0"),
        (["shift(1.5)"], "augmentation shift: pixels must be a whole number >= 1, not 1.5"),
        (["shift(1, 2)"], "augmentation 'shift(1, 2)': shift takes pixels (default: 2)"),
        (["shift(pixel=2)"], "augmentation 'shift(pixel=2)': shift takes pixels (default: 2)"),
        (["shift(True)"], "augmentation shift: pixels must be a whole number >= 1, not True"),
        (["flip(1.5)"], "augmentation flip: probability must be a number in [0, 1], not 1.5"),
        (["flip('a')"], "augmentation flip: probability must be a number in [0, 1], not 'a'"),
        (["erase(-1)"], "augmentation erase: probability must be a number in [0, 1], not -1"),
        (["affine(scale=1)"], "augmentation affine: scale must be a number in [0, 0.9], not 1"),
        (["affine(degrees=1e999)"], "augmentation affine: degrees must be a number in [0, 180], not inf"),
        (["trivial_augment(0)"], "augmentation trivial_augment: copies must be a whole number >= 1, not 0"),
        (["affine(degrees=30"], "augmentation 'affine(degrees=30' must read like flip, shift(3) or affine"),
        (
            ["shift(open('x'))"],
            "must read like flip, shift(3) or affine(degrees=30, shear=0), in quotes if it has a comma",
        ),
        (["torch.shift(2)"], "augmentation 'torch.shift(2)' must read like flip"),
        (["shift(**{})"], "augmentation 'shift(**{})'"),
        ([""], "augmentation '' must read like flip"),
        (["shift 2"], "augmentation 'shift 2' must read like flip"),
    ],
)
def test_a_mistake_is_one_clear_line_before_anything_is_read(words, message, monkeypatch):
    monkeypatch.setattr(Digits, "load", lambda _: pytest.fail("the constructor must not read"))
    with pytest.raises(ValueError, match="augmentation") as error:
        Digits(batch_size=4, seed=0, augmentation=words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class Table(Photographs):
    sample_shape = (3,)

    def features(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))


class TwoChannels(Photographs):
    sample_shape = (2, 6, 9)

    def features(self, x: Tensor) -> Tensor:
        return x[:, :2].float() / 255


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [
        (Table, "flip", r"augmentation needs images, and the samples here are of shape \(3,\)"),
        (Photographs, "shift(6)", "augmentation shift: pixels must be < 6, the side of an image, not 6"),
        (TwoChannels, "trivial_augment", "augmentation trivial_augment needs images of 1 or 3 channels, not 2"),
    ],
)
def test_what_cannot_be_augmented_is_refused(kind, word, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(augmentation=[word]).setup()


def test_two_channels_can_be_moved():
    module = TwoChannels(augmentation=["shift", "flip", "affine", "erase"])
    module.setup()
    assert epoch_of(module)[0].shape == (40, 2, 6, 9)
