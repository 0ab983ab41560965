"""What each remedy against over-fitting changes: the loss on new images, the weights, what a damaged network knows."""

from experiments.core.definitions import Claim, Experiment, Overrides, Value, axes, effect, equivalence, exact, measured

FIGHTING = "Lutter contre le sur-apprentissage"
TECHNIQUES = "Différentes techniques qui visent toutes à régulariser le réseau"
# A twentieth of a nat: 5 % more probability for the right class, in the geometric mean over test images.
FIVE_PERCENT = 0.05
# Ten, and twenty, more of 1,000 test images.
ONE_POINT, TWO_POINTS = 0.01, 0.02
# A quarter of the weights that could be left out; half the norm, in decades.
A_QUARTER, HALF = 0.25, 0.3
# A diverged network is worth a guess among ten classes, whose loss is ln 10.
CHANCE, CHANCE_LOSS = 0.1, 2.303

NOISY: Overrides = {"label_noise": 0.2}
L1: Overrides = {"l1": 1e-3}
L2: Overrides = {"l2": 1e-2}
DROPOUT: Overrides = {"dropout": 0.5}
ONE_MASK: Overrides = {"dropout": 0.5, "dropout_mask": "batch"}
SHIFT_FLIP: Overrides = {"config": "shift_flip"}
EACH = (L1, L2, DROPOUT, SHIFT_FLIP)

SETTING = (
    "500 steps on 1,000 images, the last weights tested; strengths (L1 .001, L2 .01, dropout .5, one pixel and mirror) "
    "as a pilot on other seeds chose them."
)
WORST = f"Per seed, the technique that does worst of L1, L2, dropout and shifted or mirrored images. {SETTING}"


def _noisy(overrides: Overrides) -> dict[str, Value]:
    return {**NOISY, **overrides}


def _of_one(id: str, name: str, name_fr: str, where: Overrides, minus: Overrides) -> list[Claim]:
    """The secondary claims on one technique alone: loss, and accuracy with and without label noise."""
    return [
        effect(f"{id}-loss",
            f"{name} lowers the cross-entropy on new images.",
            f"{name_fr} diminue l'entropie croisée sur de nouvelles images.",
            measure="test/loss", where=where, minus=minus, below=-FIVE_PERCENT, if_diverged=CHANCE_LOSS,
            figure="gains", slide=FIGHTING, primary=False, note=SETTING),
        effect(f"{id}-accuracy-noisy",
            f"{name} makes the network classify new images better when a fifth of the training labels are drawn at random.",
            f"{name_fr} fait mieux classer de nouvelles images si un cinquième des étiquettes d'apprentissage sont tirées au hasard.",
            measure="test/accuracy", where=_noisy(where), minus=minus, above=ONE_POINT, if_diverged=CHANCE,
            figure="gains", slide=FIGHTING, primary=False, note=SETTING),
        effect(f"{id}-accuracy-clean",
            f"{name} makes the network classify new images better when all training labels are right.",
            f"{name_fr} fait mieux classer de nouvelles images si toutes les étiquettes d'apprentissage sont justes.",
            measure="test/accuracy", where=where, minus=minus, above=ONE_POINT, if_diverged=CHANCE,
            figure="gains", slide=FIGHTING, primary=False, note=SETTING,
            holds=f"with a fifth of the labels drawn at random ({id}-accuracy-noisy)"),
    ]  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L37-each-loss",
        "L1, L2, dropout and augmented images each lower the cross-entropy on new images.",
        "L1, L2, le dropout et les images augmentées diminuent chacun l'entropie croisée sur de nouvelles images.",
        measure="test/loss", contrast="largest_difference", conditions=[{}, *EACH], below=-FIVE_PERCENT,
        if_diverged=CHANCE_LOSS, figure="gains", slide=TECHNIQUES, note=WORST),
    effect("L37-each-accuracy",
        "With noisy training labels, L1, L2, dropout and augmented images each make the network classify new images better.",
        "Avec des étiquettes d'apprentissage bruitées, L1, L2, le dropout et les images augmentées font chacun mieux classer de nouvelles images.",
        measure="test/accuracy", contrast="smallest_difference", conditions=[NOISY, *map(_noisy, EACH)],
        above=ONE_POINT, if_diverged=CHANCE, figure="gains", slide=TECHNIQUES,
        note=f"A fifth of the training labels are drawn uniformly from the ten classes. {WORST}"),
    effect("L37-each-gap",
        "L1, L2, dropout and augmented images each shrink the gap between the loss on new and on training images.",
        "L1, L2, le dropout et les images augmentées réduisent chacun l'écart entre le coût sur les nouvelles images et sur celles d'apprentissage.",
        measure="gap", contrast="largest_difference", conditions=[{}, *EACH], below=-FIVE_PERCENT,
        figure="training_and_test_loss", slide=TECHNIQUES, primary=False,
        note="Both without dropout and on unchanged images. A network that learns less also has a smaller gap: alone it says nothing."),
    effect("L38-l1-sparse",
        "L1 makes weights negligible that L2 does not.",
        "L1 rend négligeables des poids que L2 ne rend pas négligeables.",
        measure="weight/negligible", where={"l1": 1e-3, "l2": 0.0}, minus={"l1": 0.0, "l2": 1e-2}, above=A_QUARTER,
        figure="weights", slide=TECHNIQUES,
        note="Share of all weights with |w| < 0.001; an initial one is about 0.1. At these strengths both have much the same test loss."),
    effect("L38-l2-norm",
        "L2 at least halves the norm of the weights.",
        "L2 divise au moins par deux la norme des poids.",
        measure="norm_decades", where=L2, minus={"l2": 0.0}, below=-HALF, figure="weights", slide=TECHNIQUES,
        note=SETTING),
    effect("L38-control",
        "L2 makes a quarter of the weights negligible.",
        "L2 rend négligeable un quart des poids.",
        measure="weight/negligible", where=L2, minus={"l2": 0.0}, above=A_QUARTER, figure="weights", slide=TECHNIQUES,
        control=True),
    effect("L39-input-noise",
        "A network trained with dropout classifies noisy images better.",
        "Un réseau appris avec dropout classe mieux les images bruitées.",
        measure="test/accuracy/noise=0.75", where=DROPOUT, minus={"dropout": 0.0}, above=TWO_POINTS,
        if_diverged=CHANCE, figure="robustness", slide=TECHNIQUES,
        note="Gaussian noise of 0.75 standard deviations of the training pixels is added to the test images."),
    effect("L67-removed-units",
        "A network trained with dropout classifies better when half of its hidden units are removed.",
        "Un réseau appris avec dropout classe mieux quand on lui retire la moitié de ses unités cachées.",
        measure="test/accuracy/removed=0.5", where=DROPOUT, minus={"dropout": 0.0}, above=TWO_POINTS,
        if_diverged=CHANCE, figure="robustness", slide=TECHNIQUES,
        note="After training, in every hidden layer; others for each test image, and nothing makes up for them."),
    effect("L67-one-mask",
        "A network trained with the same units removed for all images of an iteration also classifies better when half of its hidden units are removed.",
        "Un réseau appris en retirant les mêmes unités pour toutes les images d'une itération classe aussi mieux quand on lui retire la moitié de ses unités cachées.",
        measure="test/accuracy/removed=0.5", contrast="smallest_difference", conditions=[{}, ONE_MASK],
        above=TWO_POINTS, if_diverged=CHANCE, figure="robustness", slide=TECHNIQUES,
        note="The slide removes units for an iteration; PyTorch draws others for each image. Compared with no dropout."),
    equivalence("L67-masks-agree",
        "Whether the images of an iteration share the removed units makes no difference to the accuracy of the whole network.",
        "Que les images d'une itération partagent ou non les unités retirées ne change pas l'exactitude du réseau entier.",
        measure="test/accuracy", contrast="smallest_difference", conditions=[DROPOUT, ONE_MASK], within=TWO_POINTS,
        if_diverged=CHANCE, figure="robustness", slide=TECHNIQUES, source="beyond", primary=False),
    measured("L39-beyond-l2",
        "Against noisy images dropout helps more than L2 does.",
        "Contre le bruit des images, le dropout aide plus que L2.",
        measure="test/accuracy/noise=0.75", where={"dropout": 0.5, "l2": 0.0}, minus={"dropout": 0.0, "l2": 1e-2},
        figure="robustness", slide=TECHNIQUES, source="beyond",
        note="The sign says which of the two is more robust at these strengths."),
    *_of_one("L38-l1", "The L1 penalty", "La pénalité L1", L1, {"l1": 0.0}),
    *_of_one("L38-l2", "The L2 penalty", "La pénalité L2", L2, {"l2": 0.0}),
    *_of_one("L39-dropout", "Dropout", "Le dropout", DROPOUT, {"dropout": 0.0}),
    exact("L67-thinned",
        "In an iteration, dropout computes what the network without the removed units would, the outputs of the others divided by 1 − p; in evaluation it is the whole network.",
        "Pendant une itération, le dropout calcule ce que calculerait le réseau sans les unités retirées, les sorties des autres divisées par 1 − p ; en évaluation, c'est le réseau entier.",
        check="thinned_networks", tolerance=1e-12, figure="thinned_network", slide=FIGHTING,
        note="Networks built from what is left of the weights, a mask for each image and one for all."),
    exact("L39-moments",
        "Over all masks, dropout keeps the mean of wᵀz and adds the variance p/(1 − p) · Σ (w z)².",
        "Sur tous les masques, le dropout conserve la moyenne de wᵀz et ajoute la variance p/(1 − p) · Σ (w z)².",
        check="moments_over_all_masks", tolerance=1e-12, figure="dropout_moments", slide=FIGHTING,
        note="The mean and the variance of every one of the 2⁸ masks of eight units, weighted by its probability."),
    equivalence("L39-moments-drawn",
        "The masks that the network really draws have this variance.",
        "Les masques que le réseau tire vraiment ont cette variance.",
        measure="variance_error", check="drawn_moments", within=0.02, figure="dropout_moments", slide=FIGHTING,
        primary=False,
        note="Measured over predicted variance minus 1, the mean of five values of p; 20,000 masks each."),
]
# fmt: on

experiment = Experiment(
    title="Regularisation",
    title_fr="La régularisation",
    data=("fashion_mnist",),
    grid=[
        axes(label_noise=[0.0, 0.2]),
        axes(label_noise=[0.0, 0.2], l1=1e-3),
        axes(label_noise=[0.0, 0.2], l2=1e-2),
        axes(label_noise=[0.0, 0.2], dropout=0.5),
        axes(dropout=0.5, dropout_mask="batch"),
        axes(label_noise=[0.0, 0.2], config="shift_flip"),
    ],
    measures=("gap", "norm_decades"),
    claims=CLAIMS,
    figures=("gains", "training_and_test_loss", "weights", "robustness", "thinned_network", "dropout_moments"),
)
