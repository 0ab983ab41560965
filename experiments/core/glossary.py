"""The glossary of the lecture's words: French, English, and the class that implements each. It becomes MODULES.md."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

from experiments.core import catalogue, records, reference

PAGE = catalogue.ROOT.parent / "MODULES.md"

# French, English, and where the class or function is.
TERMS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Architectures": (
        ("perceptron", "perceptron", "lightning_modules:Perceptron"),
        ("réseau à une couche linéaire", "linear model", "lightning_modules:LinearModel"),
        ("neurones linéaires combinés", "stack of linear layers", "lightning_modules:LinearStack"),
        ("réseau à deux couches", "two-layer network", "lightning_modules:TwoLayer"),
        ("réseau complètement connecté", "fully connected network", "lightning_modules:FullyConnected"),
        ("architecture modulaire", "modular network", "lightning_modules:Modular"),
        ("réseau convolutif", "convolutional network", "lightning_modules:Convolutional"),
        ("réseau récurrent", "recurrent network", "lightning_modules:Recurrent"),
        ("optimisation de l'entrée", "input optimisation", "lightning_modules:InputOptimization"),
    ),
    "Modules by hand": (
        ("module", "module", "lightning_modules.by_hand:Module"),
        ("assemblage de modules", "chain of modules", "lightning_modules.by_hand:Chain"),
        ("réseau modulaire", "network of modules", "lightning_modules.by_hand:ModularNetwork"),
        ("couche linéaire", "linear layer", "lightning_modules.by_hand:Linear"),
        ("sigmoïde", "sigmoid", "lightning_modules.by_hand:Sigmoid"),
        ("tangente hyperbolique", "hyperbolic tangent", "lightning_modules.by_hand:Tanh"),
        ("unité linéaire rectifiée", "rectified linear unit", "lightning_modules.by_hand:ReLU"),
        ("softmax", "softmax", "lightning_modules.by_hand:Softmax"),
        ("abandon", "dropout", "lightning_modules.by_hand:Dropout"),
        ("normalisation par lot", "batch normalisation", "lightning_modules.by_hand:BatchNorm"),
        ("normalisation par couche", "layer normalisation", "lightning_modules.by_hand:LayerNorm"),
        ("coût", "cost", "lightning_modules.by_hand:Cost"),
        ("moindres carrés", "mean squared error", "lightning_modules.by_hand:MSE"),
        ("entropie croisée", "cross-entropy", "lightning_modules.by_hand:CrossEntropy"),
        ("entropie croisée binaire", "binary cross-entropy", "lightning_modules.by_hand:BCE"),
    ),
    "Data sets": (
        ("données linéairement séparables", "linearly separable points", "datamodules:Separable"),
        ("fonctions booléennes", "boolean functions", "datamodules:Boolean"),
        ("lunes", "moons", "datamodules:Moons"),
        ("cercles", "circles", "datamodules:Circles"),
        ("spirales", "spirals", "datamodules:Spirals"),
        ("régression en une dimension", "regression in one dimension", "datamodules:LeastSquares"),
        ("plusieurs étiquettes", "multi-label data", "datamodules:MultiLabel"),
        ("iris", "iris", "datamodules:Iris"),
        ("vins", "wine", "datamodules:Wine"),
        ("cancer du sein", "breast cancer", "datamodules:BreastCancer"),
        ("diabète", "diabetes", "datamodules:Diabetes"),
        ("logements de Californie", "California housing", "datamodules:CaliforniaHousing"),
        ("textes descriptifs", "descriptions", "datamodules:DescriptionTexts"),
        ("chiffres manuscrits", "handwritten digits", "datamodules:Digits"),
        ("chiffres manuscrits (MNIST)", "handwritten digits (MNIST)", "datamodules:MNIST"),
        ("vêtements", "clothes", "datamodules:FashionMNIST"),
        ("numéros de maison", "house numbers", "datamodules:SVHN"),
        ("objets", "objects", "datamodules:CIFAR10"),
    ),
    "Training": (
        ("fonction standard d'apprentissage", "standard training function", "lightning_modules.base:LectureModule"),
        ("coût du perceptron", "perceptron cost", "lightning_modules.perceptron:perceptron_cost"),
        (
            "codage one-hot et moindres carrés",
            "squared error of one-hot labels",
            "lightning_modules.losses:one_hot_mse",
        ),
        ("pénalité L1, L2", "L1 and L2 penalty", "lightning_modules.penalties:penalty"),
        ("pas d'apprentissage variable", "learning-rate schedule", "lightning_modules.optimization:build_schedule"),
        ("initialisation", "initialisation", "lightning_modules.layers.initialization:initialize_linear"),
        ("augmentation des données", "data augmentation", "datamodules.augmentation:Augmentation"),
        ("écrêtage du gradient", "gradient clipping", "experiments.core.callbacks:GradientClipping"),
        ("flux du gradient", "gradient flow", "experiments.core.callbacks:GradientFlow"),
        ("statistiques d'activation", "activation statistics", "experiments.core.callbacks:ActivationStatistics"),
        ("divergence", "divergence", "experiments.core.callbacks:Divergence"),
    ),
}
BEGIN = "<!-- glossary -->"
END = "<!-- end of glossary -->"


def write() -> Path:
    """Write the glossary between its two marks in MODULES.md."""
    records.write_atomically(PAGE, with_glossary(PAGE.read_text(encoding="utf-8")))
    return PAGE


def with_glossary(text: str) -> str:
    """Put the glossary between its two marks in a Markdown text."""
    return reference.between(text, BEGIN, END, markdown())


def markdown() -> str:
    """The glossary: a table a section, a row a term."""
    parts = []
    for section, terms in TERMS.items():
        rows = [f"### {section}", "", "| français | English | class | slide | what it is |", "|---|---|---|---|---|"]
        rows += [_row(*term) for term in terms]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _row(french: str, english: str, place: str) -> str:
    module, _, name = place.partition(":")
    found = getattr(importlib.import_module(module), name)
    doc = inspect.getdoc(found) or ""
    source = Path(inspect.getfile(inspect.unwrap(found))).relative_to(catalogue.ROOT.parent)
    first = " ".join(doc.partition("\n\n")[0].split()).partition(" Slide")[0].replace("|", "\\|")
    return f"| {french} | {english} | [`{name}`]({source.as_posix()}) | {', '.join(slides(doc))} | {first} |"


def slides(doc: str) -> list[str]:
    """Titles of the slides that a docstring names."""
    joined = " ".join(doc.split())
    found = re.findall(r"[Ss]lides? ((?:\"[^\"]+\"(?:,| and|, and)? ?)+)", joined)
    return list(dict.fromkeys(title for titles in found for title in re.findall(r"\"([^\"]+)\"", titles)))
