"""The texts against scikit-learn's own descriptions, character by character."""

import weakref

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.naive_bayes import MultinomialNB

from datamodules import text
from datamodules.text import CHARACTERS, DOCUMENTS, OTHER, DescriptionTexts

LENGTH = 64
# Those whose text scikit-learn also hands out by a public function.
PUBLIC = {"breast_cancer": "breast_cancer", "digits": "digits", "iris": "iris", "wine_data": "wine"}


def ready(seed: int = 1000, **arguments) -> DescriptionTexts:
    module = DescriptionTexts(**{"batch_size": 64} | arguments, seed=seed)
    module.setup()
    return module


def parts(module):
    return zip((module.train, module.val, module.test), module.indices, strict=True)


def places(module: DescriptionTexts, rows: torch.Tensor) -> set[int]:
    """All characters of some windows, each as 100,000 × document + place in the document."""
    y = module.load().y
    begin = torch.cat([torch.arange(int(n)) for n in y.bincount()])
    return set((100_000 * y[rows] + begin[rows]).add(torch.arange(module.length)[:, None]).unique().tolist())


def squeezed(description: str) -> str:
    """The body of a description in plain Python: lower case, and no sign or space twice in a row."""
    lines = description.splitlines()
    body = lines[next(i for i, line in enumerate(lines) if set(line) == {"-"}) + 1 :]
    result = ""
    for character in " ".join(" ".join(body).split()).lower():
        if (character.isascii() and character.isalnum()) or character != result[-1:]:
            result += character
    return result


@pytest.mark.parametrize(("document", "loader"), PUBLIC.items())
def test_windows_are_those_of_scikit_learns_text(document, loader):
    expected = squeezed(getattr(sklearn.datasets, f"load_{loader}")().DESCR)
    module = DescriptionTexts(batch_size=64, seed=0)
    source = module.load()
    windows = source.x[source.y == DOCUMENTS.index(document)]
    assert len(windows) == len(expected) - LENGTH + 1
    codes = [CHARACTERS.find(character) for character in expected]
    codes = torch.tensor([OTHER if code < 0 else code for code in codes], dtype=torch.uint8)
    for begin in (0, 1, 700, len(windows) - 1):
        assert torch.equal(windows[begin], codes[begin : begin + LENGTH])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_header_that_names_the_data_set_is_left_out(document):
    body = text.read_body(document)
    assert len(body) > 1000
    assert "-dataset:" not in body
    assert not body.startswith((".. _", "the " + document.replace("_", " "), document.replace("_", " ")))


def test_only_the_header_is_left_out():
    assert text.simplify("A  B\n\n====  c11\t!!") == "a b = c11 !"
    assert text.HEADER.sub("", ".. _label:\n\nTitle\n-----\n\nBody\n----\nMore\n").split() == ["Body", "----", "More"]


def test_each_character_is_one_column_with_a_single_one():
    module = ready()
    source = module.load()
    assert module.sample_shape == (48, LENGTH)
    assert module.num_features == 48 * LENGTH
    assert source.x.dtype == torch.uint8
    for (x, y), rows in parts(module):
        assert x.shape == (len(rows), 48, LENGTH)
        assert x.dtype == torch.float32
        assert x.is_contiguous()
        assert torch.equal(x.sum(1), torch.ones(len(rows), LENGTH))
        assert torch.equal(x.argmax(1), source.x[rows].long())
        assert torch.equal(y, source.y[rows])


def test_the_alphabet_names_every_character_once_and_covers_nearly_all_of_the_text():
    assert len(set(CHARACTERS)) == len(CHARACTERS) == 47
    other = (DescriptionTexts(batch_size=64, seed=0).load().x == OTHER).double().mean()
    assert 0 < other < 0.05


@pytest.mark.parametrize("seed", [0, 1009])
@pytest.mark.parametrize("length", [1, 64, 120])
def test_no_character_is_in_two_parts(seed, length):
    module = ready(seed, length=length, num_train=1000, num_val=100, num_test=100)
    train, val, test = (places(module, rows) for rows in module.indices)
    assert not train & val
    assert not train & test
    assert not val & test


def test_the_tests_of_ten_seeds_share_no_character_and_reach_every_section():
    modules = [DescriptionTexts(batch_size=64, seed=seed) for seed in range(1000, 1010)]
    tests = [places(module, module.split().test) for module in modules]
    assert len(set().union(*tests)) == sum(map(len, tests))
    assert all(module.disjoint_test for module in modules)
    for document in range(len(DOCUMENTS)):
        assert all(any(place // 100_000 == document for place in test) for test in tests)


@given(n=st.integers(10, 3000))
def test_sections_are_equal_up_to_one_character_and_consecutive(n):
    sections = text.sections(n)
    sizes = sections.bincount()
    assert len(sizes) == 10
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(sections, sections.sort().values)


def test_windows_of_a_part_are_different_ones_and_equally_many_of_each_document():
    module = ready(num_train=2003)
    for (_, y), rows in parts(module):
        assert len(rows) == len(rows.unique())
        counts = y.bincount(minlength=10)
        assert counts.max() - counts.min() <= 1
    assert module.train[1][:20].tolist() == [*range(10)] * 2  # in turn, so that the first batches are mixed


def test_a_size_moves_no_other_part():
    small, large = (ready(num_train=n).indices for n in (105, 3000))
    assert torch.equal(small.train, large.train[:105])
    assert torch.equal(small.val, large.val)
    assert torch.equal(small.test, large.test)
    assert torch.equal(ready(num_test=100).indices.train, ready().indices.train)


def test_same_seed_same_windows_and_another_seed_others():
    for a, b in zip(ready().indices, ready().indices, strict=True):
        assert torch.equal(a, b)
    # The same sections, and other windows of them.
    one, other = ready(1000), ready(1010)
    assert not torch.equal(one.indices.test, other.indices.test)
    assert places(one, one.indices.test) & places(other, other.indices.test)


def test_standardisation_is_one_mean_a_character_of_the_training_split():
    plain, scaled = ready(), ready(standardize=True)
    train = plain.train[0].double().numpy()
    mean = train.mean(axis=(0, 2), keepdims=True)
    std = train.std(axis=(0, 2), keepdims=True)
    std[std == 0] = 1
    for a, b in ((plain.train, scaled.train), (plain.test, scaled.test)):
        # A rare character is many deviations from its mean: relative, in single precision.
        np.testing.assert_allclose(b[0], (a[0].double().numpy() - mean) / std, rtol=1e-6, atol=1e-6)


def test_a_permutation_moves_all_characters_of_a_window_alike():
    plain, permuted = ready(), ready(permute=True)
    order = permuted.train[0].argmax(1)
    assert not torch.equal(order, plain.train[0].argmax(1))
    assert torch.equal(order.sort(1).values, plain.train[0].argmax(1).sort(1).values)
    assert torch.equal(permuted.train[0].sum(1), torch.ones(2000, LENGTH))


def test_the_digest_covers_the_text(monkeypatch):
    before = DescriptionTexts(batch_size=64, seed=1).sha256
    assert before == DescriptionTexts(batch_size=64, seed=2).sha256
    body = text.read_body
    monkeypatch.setattr(
        text, "read_body", lambda name: body(name).replace("flower", "flowes").replace("plant", "plans")
    )
    text._load.cache_clear()
    try:
        assert DescriptionTexts(batch_size=64, seed=1).sha256 != before
    finally:
        text._load.cache_clear()


def test_the_frequencies_of_letters_already_tell_more_than_chance():
    scores = []
    for seed in range(1000, 1010):
        module = ready(seed)
        (x, y), (x_test, y_test) = module.train, module.test
        scores.append(MultinomialNB().fit(x.sum(2), y).score(x_test.sum(2), y_test))
    # 0.22 with scikit-learn 1.9; chance is 0.1.
    assert np.mean(scores) > 0.15


def test_what_the_texts_say_about_themselves_is_so():
    assert len(DescriptionTexts(batch_size=64, seed=0).load().x) == pytest.approx(
        DescriptionTexts.info.samples, rel=0.2
    )
    assert DescriptionTexts.location() == "bundled"
    assert DescriptionTexts.num_classes == len(DOCUMENTS) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length must be >= 1, not 0"),
        ({"length": 5000}, r"length must be <= \d+, a tenth of the shortest document, not 5000"),
        ({"stratify": True}, "stratify must be false: the documents have equal shares in every part anyway"),
        ({"num_train": 10**6}, r"num_train must be <= \d+, the windows of 64 characters .*, not 1000000"),
        ({"num_test": 10**4}, r"num_test must be <= \d+, the windows of 64 characters .*, not 10000"),
        (
            {"num_train": 9, "batch_size": 9},
            "num_train must be >= 10, the number of classes of DescriptionTexts, not 9",
        ),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$") as error:
        ready(**arguments)
    assert "\n" not in str(error.value)


def test_the_greatest_sizes_that_a_message_names_are_possible():
    with pytest.raises(ValueError, match="num_val") as error:
        ready(num_val=10**4)
    available = int(str(error.value).split("<= ")[1].split(",")[0])
    assert len(ready(num_val=available).val[1]) == available
    with pytest.raises(ValueError, match="length") as error:
        ready(length=5000)
    longest = int(str(error.value).split("<= ")[1].split(",")[0])
    assert ready(length=longest, num_train=10, num_val=10, num_test=10, batch_size=10).test[0].shape[2] == longest


def test_a_missing_description_is_one_clear_line():
    with pytest.raises(OSError, match=r"^scikit-learn .* has no description nothing.rst with a title: install scikit-"):
        text.read_body("nothing")


def test_seeds_share_one_copy_of_the_windows_and_only_the_last_ones_are_kept():
    first, second = (DescriptionTexts(batch_size=10, seed=seed, length=9) for seed in (1000, 1001))
    kept = weakref.ref(first.load().x)
    assert second.load().x is kept()
    DescriptionTexts(batch_size=10, seed=1000, length=8).load()
    assert kept() is None
