"""What a teacher shows about data augmentation: the learnt sub-policies, the gains, mass against variation."""

from __future__ import annotations

import numpy as np

from datamodules import FashionMNIST
from experiments.core import augmentations
from experiments.core import drawing as d
from experiments.core.bands import band, rows_of, values_of
from experiments.core.comparisons import Series, Shown, draw_differences
from experiments.core.definitions import Overrides
from experiments.core.drawing import Drawing, Words
from experiments.core.results import Results

AUGMENTATIONS: dict[str, Overrides] = {
    "shift and flip": {"config": "shift_flip"},
    "AutoAugment (SVHN)": {"config": "autoaugment"},
    "TrivialAugment": {"config": "trivial_augment"},
    "erase": {"config": "erase"},
}
LABELS = (
    Series("● clean labels", {"label_noise": 0.0}, d.BLUE, "o"),
    Series("◆ 20 % label noise", {"label_noise": 0.2}, d.VERMILLION, "D"),
)
GAINS = (
    Shown("test/loss", 1.0, "change of test cross-entropy (nats)", -0.05),
    Shown("test/accuracy", 100.0, "change of test accuracy (points)", 0.01),
)
KINDS: dict[str, tuple[Overrides, str]] = {
    "1,000 images": ({}, d.BLACK),
    "the same, four times": ({"config": "duplicates"}, d.GREY),
    "four changed copies": ({"config": "autoaugment"}, d.VERMILLION),
    "changed anew each epoch": ({"config": "shift_flip"}, d.ORANGE),
    "4,000 images": ({"config": "new_images"}, d.BLUE),
}
# The image and the draws of the slide's figure.
SEED, DRAWS, SIDE = 1, 3, 28


def sub_policies(results: Results) -> Drawing:
    """Draw an image, and three draws of each of the slide's five sub-policies."""
    del results  # the picture is of the method
    figure = augmentations.picture(FashionMNIST, "autoaugment_svhn", seed=SEED, rows=DRAWS, size=SIDE)
    figure.suptitle("")
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


def gains(results: Results) -> Drawing:
    """Draw what each augmentation changes, with clean and with noisy training labels."""
    figure, counts = draw_differences(results, AUGMENTATIONS, LABELS, GAINS)
    n = d.count_words(counts)
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
    counts = []
    for axes, (column, label) in zip(
        panels, (("test/loss", "test cross-entropy (nats)"), ("test/accuracy", "test accuracy")), strict=True
    ):
        for y, (name, (overrides, color)) in enumerate(KINDS.items()):
            values = values_of(rows_of(results, overrides), column)
            values = values[np.isfinite(values)]
            counts.append(len(values))
            if not len(values):
                continue
            shown = band([y], values[None])
            axes.hlines(y, shown.low, shown.high, color=color, linewidth=3.5, gid=f"interval/{column}/{name}")
            axes.plot(shown.mean, [y], "o", color=color, gid=f"mean/{column}/{name}")
        axes.set(xlabel=label, ylim=(len(KINDS) - 0.4, -0.6))
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(KINDS)), list(KINDS))
    n = d.count_words(counts)
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
