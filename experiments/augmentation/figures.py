"""What a teacher shows about data augmentation: the learnt sub-policies, the gains, mass against variation."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from datamodules import FashionMNIST
from datamodules.image_operations import one_by_one
from datamodules.loader import generator
from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results

AUGMENTATIONS: dict[str, Overrides] = {
    "shift and flip": {"config": "shift_flip"},
    "AutoAugment (SVHN)": {"config": "autoaugment"},
    "TrivialAugment": {"config": "trivial_augment"},
    "erase": {"config": "erase"},
}
LABELS = (
    plots.Series("● clean labels", {"label_noise": 0.0}, d.BLUE, "o"),
    plots.Series("◆ 20 % label noise", {"label_noise": 0.2}, d.VERMILLION, "D"),
)
GAINS = (
    plots.Measure("test/loss", plots.PLAIN, "change of test cross-entropy (nats)", -0.05),
    plots.Measure("test/accuracy", plots.PERCENT, "change of test accuracy (points)", 1.0),
)
KINDS: plots.Styled = {
    "1,000 images": ({}, d.BLACK),
    "the same, four times": ({"config": "duplicates"}, d.GREY),
    "four changed copies": ({"config": "autoaugment"}, d.VERMILLION),
    "changed anew each epoch": ({"config": "shift_flip"}, d.ORANGE),
    "4,000 images": ({"config": "new_images"}, d.BLUE),
}
# The image and the draws of the picture, and the slide's sub-policies by their place in torchvision's list.
SEED, DRAWS = 1, 3
ON_THE_SLIDE = (0, 16, 5, 3, 23)
# Levels are evenly spaced from 0; this is the tangent of the highest (Cubuk et al. 2018, table 6).
HIGHEST_LEVEL, LARGEST_SHEAR = 9, 0.3


def sub_policies(results: Results) -> Drawing:
    """Draw an image, and three draws of each of the slide's five sub-policies."""
    del results  # the picture is of the method
    data = FashionMNIST(batch_size="full", seed=SEED, size=28, standardize=False)
    data.setup()
    image = data.train[0][:1]
    columns = {f"sub-policy {number}": _draws(index, image) for number, index in enumerate(ON_THE_SLIDE, start=1)}
    columns = {"original": (image.expand(DRAWS, -1, -1, -1), ""), **columns}
    figure = d.new_figure(1.6 + DRAWS * 2.0 + 0.28 * 4)
    figure.supxlabel(
        "Each operation with its magnitude, then its probability p and its level of magnitude, 0 to 9.",
        fontsize=d.SMALL,
        color=d.GREY,
    )
    grid = figure.subplots(DRAWS, len(columns))
    for places, (title, (images, words)) in zip(grid.T, columns.items(), strict=True):
        for axes, shown in zip(places, images, strict=True):
            _show(axes, shown)
        places[0].set_title(title, loc="center")
        places[-1].set_xlabel(words, fontsize=d.SMALL)
    for number, axes in enumerate(grid[:, 0], start=1):
        axes.set_ylabel(f"draw {number}")
    return Drawing(
        figure,
        Words("AutoAugment: five sub-policies, three draws", "AutoAugment : cinq sous-politiques, trois tirages"),
        Words(
            "An image of Fashion-MNIST under the slide's five sub-policies as torchvision has them: operation, "
            "magnitude, probability p, level. In the first, ShearX has level 4 where the transcribed slide has 7.",
            "Une image de Fashion-MNIST sous les cinq sous-politiques de la diapositive, telles que dans torchvision : "
            "opération, amplitude, probabilité p, niveau. Dans la première, ShearX a le niveau 4, et 7 dans la "
            "transcription.",
        ),
    )


def _draws(index: int, image: Tensor) -> tuple[Tensor, str]:
    """Apply one of torchvision's sub-policies several times to an image (1, 1, side, side); say what it is."""
    transform: Any = AutoAugment(AutoAugmentPolicy.SVHN)
    transform.policies = [transform.policies[index]]
    draws = generator(SEED, f"augmentation/autoaugment_svhn/{index}")
    changed = one_by_one(transform, image.expand(DRAWS, -1, -1, -1), torch.randint(2**62, (DRAWS,), generator=draws))
    lines = []
    for operation, probability, level in transform.policies[0]:
        lines.append(operation if level is None else f"{operation} {magnitude(operation, level)}")
        lines.append(f"p = {probability:g}" + ("" if level is None else f", level {level}"))
    return changed, "\n".join(lines)


def magnitude(operation: str, level: int) -> str:
    """Say what a level means: a tangent of either sign, or the brightness from which on pixels are inverted."""
    share = level / HIGHEST_LEVEL
    return f"≥ {255 * (1 - share):.0f}" if operation == "Solarize" else f"±{LARGEST_SHEAR * share:.2f}"


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.squeeze(0).numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)  # around a white image


def gains(results: Results) -> Drawing:
    """Draw what each augmentation changes, with clean and with noisy training labels."""
    figure, n = plots.draw_differences(results, AUGMENTATIONS, LABELS, GAINS)
    return Drawing(
        figure,
        Words("What each augmentation gains", "Ce que gagne chaque augmentation"),
        Words(
            f"Difference to training on the images as they are: mean over seeds ({n}) and 95 % Student interval. "
            "Dotted: smallest effect of interest. Test images and labels are unchanged.",
            f"Différence avec l'apprentissage sur les images telles quelles : moyenne sur les graines ({n}) et "
            "intervalle de Student à 95 %. Pointillés : plus petit effet d'intérêt. Images et étiquettes de test "
            "inchangées.",
        ),
    )


def mass_and_variation(results: Results) -> Drawing:
    """Draw loss and accuracy by the kind of training images, at equal steps."""
    figure = d.new_figure(5.5)
    panels = figure.subplots(1, 2, sharey=True)
    measures = {"test/loss": "test cross-entropy (nats)", "test/accuracy": "test accuracy"}
    for axes, (measure, label) in zip(panels, measures.items(), strict=True):
        plots.draw_rows(axes, results, KINDS, measure)
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")
    plots.name_rows(panels[0], KINDS)
    n = plots.count_seeds(results, (overrides for overrides, _ in KINDS.values()))
    return Drawing(
        figure,
        Words("Mass and variation", "La masse et les variations"),
        Words(
            f"Test loss and accuracy after equally many steps: mean over seeds ({n}) and 95 % Student interval. "
            "Changed: four copies by AutoAugment (SVHN), or a shift and a flip drawn anew in every epoch.",
            f"Coût et exactitude de test après autant de pas : moyenne sur les graines ({n}) et intervalle de Student "
            "à 95 %. Modifiées : quatre copies par AutoAugment (SVHN), ou un décalage et un retournement tirés à "
            "chaque époque.",
        ),
    )
