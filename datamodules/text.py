"""A small text data set that is always there: the descriptions of data sets that scikit-learn brings along."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata, resources

import torch
from torch import Tensor

from datamodules.base import About, InMemoryDataModule, Source
from datamodules.splits import Split

# Of similar kind, long enough to be cut, and in every version of scikit-learn from 1.6 on. The class is the place.
DOCUMENTS = (
    "breast_cancer",
    "california_housing",
    "digits",
    "iris",
    "kddcup99",
    "lfw",
    "olivetti_faces",
    "rcv1",
    "twenty_newsgroups",
    "wine_data",
)
# Whatever is not among these is the last character, "other".
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,:-_=()'/"
OTHER = len(CHARACTERS)
# Everything up to the line that underlines the title.
HEADER = re.compile(r"\A.*?^-{3,}\n", re.DOTALL | re.MULTILINE)
# As many sections of a document as there are usual seeds: each is once the test.
SECTIONS = 10


def plain(text: str) -> str:
    """Put a text in lower case, without breaks between lines and without repeated signs, as in the rules of tables."""
    return re.sub(r"([^a-z0-9])\1+", r"\1", re.sub(r"\s+", " ", text.lower()).strip())


def encode(text: str) -> Tensor:
    """Return the place of each character in `CHARACTERS`, (n,) uint8."""
    places = {character: place for place, character in enumerate(CHARACTERS)}
    return torch.tensor([places.get(character, OTHER) for character in text], dtype=torch.uint8)


@cache
def body(document: str) -> str:
    """Read a description without its header.

    The header, a label and the title, names the data set: with it, the class would stand in the text.

    Raises:
        OSError: this version of scikit-learn has no such description.
    """
    file = resources.files("sklearn") / "datasets" / "descr" / f"{document}.rst"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if not HEADER.match(text):
        raise OSError(
            f"scikit-learn {metadata.version('scikit-learn')} has no description {document}.rst with a title: install "
            f"scikit-learn >= 1.6"
        )
    return plain(HEADER.sub("", text))


@lru_cache(maxsize=1)
def _load(length: int) -> Source:
    codes = [encode(body(document)) for document in DOCUMENTS]
    longest = min(map(len, codes)) // SECTIONS
    if length > longest:
        raise ValueError(f"length must be <= {longest}, a tenth of the shortest document, not {length}")
    windows = [code.unfold(0, length, 1) for code in codes]
    return Source(torch.cat(windows), torch.arange(len(codes)).repeat_interleave(torch.tensor([*map(len, windows)])))


def sections(num_characters: int) -> Tensor:
    """Return the section, 0 to 9, that each character of a document belongs to; their lengths differ by one at most."""
    return torch.arange(num_characters) * SECTIONS // num_characters


@dataclass(kw_only=True, eq=False)
class DescriptionTexts(InMemoryDataModule):
    """Short pieces of 10 texts, descriptions of data sets: which is it from? Slide "Réseau Fully-Connected" (text).

    A sample is a window of `length` consecutive characters, each a column with a single 1: its row is the character, a
    to z, 0 to 9, space, ten signs, or any other. A convolution runs along the second axis, the text; a fully connected
    network sees both axes flattened. Beforehand the text is put in lower case, a run of spaces, line ends or of one
    sign becomes one, and the header that names the data set is left out. The name can still occur in the sentences.

    Every document is cut into ten sections. A seed tests on section `seed % 10` and validates on the next one; the
    eight others are for training. Windows lie within their part: no character is in two parts, and the test samples of
    ten consecutive seeds are disjoint. Within a part windows are drawn without replacement from all there are, as many
    of each document (one more of the first ones if the number does not divide), and thus overlap: a test sample of 500
    windows tells less than 500 independent ones would.

    The texts differ a little from one version of scikit-learn to the next; `sha256` tells them apart, and changes with
    `length`.

    Args:
        length: characters of a window, at most a tenth of the shortest document: about 150.

    Raises:
        ValueError: a number is out of range, or a part has fewer windows than are asked for.
    """

    name = "descriptions"
    about = About(
        # Windows of 64 characters in scikit-learn 1.9; somewhat more or less in other versions.
        samples=31_648,
        source="the developers of scikit-learn; https://scikit-learn.org/stable/datasets.html",
        licence="BSD 3-Clause",
    )
    num_classes = len(DOCUMENTS)
    # One mean a character, wherever it stands.
    per_feature = False

    length: int = 64
    num_train: int = 2000
    num_val: int = 500
    num_test: int = 500
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 1:
            raise ValueError(f"length must be >= 1, not {self.length}")
        if self.stratify:
            raise ValueError("stratify must be false: the documents have equal shares in every part anyway")
        self.sample_shape = (OTHER + 1, self.length)

    @property
    def num_disjoint_tests(self) -> int:
        """The number of sections."""
        return SECTIONS

    def load(self) -> Source:
        """Return all windows: x (n, length) uint8, places in `CHARACTERS`, in the order of the text, and y (n,)."""
        return _load(self.length)

    def split(self) -> Split:
        """Draw windows of each document from the sections of each part."""
        test = self._seed % SECTIONS
        val = (test + 1) % SECTIONS
        train = [section for section in range(SECTIONS) if section not in (test, val)]
        return Split(
            train=self._windows(train, "train", self.num_train),
            val=self._windows([val], "val", self.num_val),
            test=self._windows([test], "test", self.num_test),
        )

    def _windows(self, of_part: list[int], part: str, number: int) -> Tensor:
        """Draw the rows of windows that lie in some sections, the documents in turn."""
        y = self.load().y
        drawn = []
        for document in range(self.num_classes):
            (rows,) = torch.where(y == document)
            in_part = torch.isin(sections(len(rows) + self.length - 1), torch.tensor(of_part))
            # The window of a row starts at the row's place; all of its characters must be in the part.
            inside = in_part.unfold(0, self.length, 1).all(dim=1)
            drawn.append(self.drawn(rows[inside], f"{part}/{document}"))
        available = min(map(len, drawn)) * len(drawn)
        if number > available:
            raise ValueError(
                f"num_{part} must be <= {available}, the windows of {self.length} characters there are if each "
                f"document gives as many, not {number}"
            )
        return torch.stack([rows[: available // len(drawn)] for rows in drawn], dim=1).flatten()[:number]

    def features(self, x: Tensor) -> Tensor:
        """Turn the place of each character into a column with a single 1."""
        return (x.unsqueeze(1) == torch.arange(OTHER + 1, dtype=x.dtype)[:, None]).float()
