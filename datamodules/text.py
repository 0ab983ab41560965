"""A small text data set without download: the descriptions of data sets bundled with scikit-learn."""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata, resources

import torch
from torch import Tensor

from datamodules.base import DatasetInfo, InMemoryDataModule, Source
from datamodules.splits import Split

# Descriptions of similar kind and sufficient length, in every version of scikit-learn from 1.6 on. The class is the
# index.
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
# All other characters are encoded as the last one, "other".
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,:-_=()'/"
OTHER = len(CHARACTERS)
# Everything up to the line that underlines the title.
HEADER = re.compile(r"\A.*?^-{3,}\n", re.DOTALL | re.MULTILINE)
# Sections of a document, as many as default seeds: each section is the test sample of one seed.
SECTIONS = 10


def simplify(text: str) -> str:
    """Convert a text to lower case, without line breaks and repeated signs such as table rules."""
    return re.sub(r"([^a-z0-9])\1+", r"\1", re.sub(r"\s+", " ", text.lower()).strip())


def encode(text: str) -> Tensor:
    """Return the index of each character in `CHARACTERS`, (n,) uint8."""
    places = {character: place for place, character in enumerate(CHARACTERS)}
    return torch.tensor([places.get(character, OTHER) for character in text], dtype=torch.uint8)


@cache
def read_body(document: str) -> str:
    """Read a description without its header, a label and a title that name the data set and so the class.

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
    return simplify(HEADER.sub("", text))


@lru_cache(maxsize=1)
def _load(length: int) -> Source:
    codes = [encode(read_body(document)) for document in DOCUMENTS]
    longest = min(map(len, codes)) // SECTIONS
    if length > longest:
        raise ValueError(f"length must be <= {longest}, a tenth of the shortest document, not {length}")
    windows = [code.unfold(0, length, 1) for code in codes]
    return Source(torch.cat(windows), torch.arange(len(codes)).repeat_interleave(torch.tensor([*map(len, windows)])))


def sections(num_characters: int) -> Tensor:
    """Return the section, 0 to 9, of each character of a document; section lengths differ by at most one."""
    return torch.arange(num_characters) * SECTIONS // num_characters


@dataclass(kw_only=True, eq=False)
class DescriptionTexts(InMemoryDataModule):
    """Windows of 10 texts, descriptions of data sets; the class is the text. Slide "Réseau Fully-Connected" (text).

    A sample is a window of `length` consecutive characters in one-hot columns; the rows are a to z, 0 to 9, space, ten
    signs, and any other character. A convolution runs along the second axis, the text; a fully connected network gets
    both axes flattened. The text is first converted to lower case, runs of spaces, line ends or one sign are reduced to
    one, and the header that names the data set is removed. The name can still occur in the sentences.

    Every document is cut into ten sections. The test sample of a seed comes from section `seed % 10`, the validation
    sample from the next one, and the training sample from the other eight. Windows do not cross parts: no character is
    in two parts, and the test samples of ten consecutive seeds are disjoint. Within a part, windows are drawn without
    replacement, equally many from each document (up to one). They overlap, so a test sample of 500 windows carries less
    information than 500 independent samples.

    The texts differ slightly between versions of scikit-learn; `sha256` identifies them, and depends on `length`.

    Args:
        length: characters of a window, at most a tenth of the shortest document (about 150).

    Raises:
        ValueError: number out of range, or a part with fewer windows than asked for.
    """

    name = "descriptions"
    info = DatasetInfo(
        # Number of windows of 64 characters in scikit-learn 1.9; it varies slightly between versions.
        samples=31_648,
        source="the developers of scikit-learn; https://scikit-learn.org/stable/datasets.html",
        licence="BSD 3-Clause",
    )
    num_classes = len(DOCUMENTS)
    # One mean per character, at all positions.
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
        """Number of sections."""
        return SECTIONS

    def load(self) -> Source:
        """Return all windows in text order: x (n, length) uint8, indices in `CHARACTERS`, and y (n,)."""
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
        """Draw rows of windows from some sections, from each document in turn."""
        y = self.load().y
        drawn = []
        for document in range(self.num_classes):
            (rows,) = torch.where(y == document)
            in_part = torch.isin(sections(len(rows) + self.length - 1), torch.tensor(of_part))
            # The window of row i starts at character i; all its characters must be in the part.
            inside = in_part.unfold(0, self.length, 1).all(dim=1)
            drawn.append(self.shuffled(rows[inside], f"{part}/{document}"))
        available = min(map(len, drawn)) * len(drawn)
        if number > available:
            raise ValueError(
                f"num_{part} must be <= {available}, the windows of {self.length} characters there are if each "
                f"document gives as many, not {number}"
            )
        return torch.stack([rows[: available // len(drawn)] for rows in drawn], dim=1).flatten()[:number]

    def features(self, x: Tensor) -> Tensor:
        """Convert character indices to one-hot columns."""
        return (x.unsqueeze(1) == torch.arange(OTHER + 1, dtype=x.dtype)[:, None]).float()
