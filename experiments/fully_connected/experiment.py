"""A fully connected network is fit for tables, is part of almost everything, and is blind to neighbourhood."""

from experiments.core.definitions import (
    Claim,
    Experiment,
    Overrides,
    axes,
    census,
    effect,
    equivalence,
    exact,
    non_inferiority,
)

# Two points of accuracy are the margin that still counts as "as good", and the smallest difference that matters.
POINTS = 0.02
# A network that diverged guesses, which costs it about half of the accuracy that the others have.
GUESSING = -0.5
# Small tables overlap from seed to seed, which twenty seeds cannot mend; they narrow what can be narrowed.
SEEDS = 20

TABLES = {"iris": "iris", "wine": "wine", "breast_cancer": "breast cancer", "digits_table": "digits"}
# Test samples of each: one more or less is the smallest step of an accuracy.
TESTED = {"iris": 30, "wine": 35, "breast_cancer": 114, "digits_table": 300}
TABLES_FR = {"iris": "iris", "wine": "les vins", "breast_cancer": "le cancer du sein", "digits_table": "les chiffres"}
CONVOLUTIONAL: Overrides = {"config": "convolutional"}
TEXT: Overrides = {"config": "text_fully_connected"}
TEXT_CONVOLUTIONAL: Overrides = {"config": "text_convolutional"}
REARRANGED: Overrides = {"permute": True}


def _not_worse(data: str, other: str, name: str, name_fr: str) -> Claim:
    return non_inferiority(f"L25-{TABLES[data].replace(' ', '-')}-{other}",
        f"On {TABLES[data]}, the fully connected network is not worse than {name} by more than two points.",
        f"Sur {TABLES_FR[data]}, le réseau complètement connecté n'est pas moins bon que {name_fr} de plus de deux points.",
        measure=f"test_minus_{other}", where={"config": data}, above=-POINTS, n=SEEDS, if_diverged=GUESSING,
        resolution=1 / TESTED[data], figure="tables",
        note="Test accuracy minus that of scikit-learn's default on the same split. 64 units, nothing tuned.")  # fmt: skip


def _census(layer: str, name: str, name_fr: str, primary: bool = False) -> Claim:
    return census(f"L26-{layer.replace('_', '-')}",
        f"Share of torchvision's families of image classifiers that contain {name}.",
        f"Part des familles de classifieurs d'images de torchvision qui contiennent {name_fr}.",
        measure=layer, check="torchvision_layers", n=1, figure="families", primary=primary,
        note="All of them are counted, so there is no interval. A family is represented by its smallest member.")  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    *(_not_worse(data, "logistic", "logistic regression", "la régression logistique") for data in TABLES),
    *(_not_worse(data, "forest", "a random forest", "une forêt aléatoire") for data in TABLES),
    effect("L25-worse",
        "On digits, the fully connected network is five points worse than logistic regression.",
        "Sur les chiffres, le réseau complètement connecté est moins bon de cinq points que la régression logistique.",
        measure="test_minus_logistic", where={"config": "digits_table"}, below=-0.05, n=SEEDS, if_diverged=GUESSING,
        resolution=1 / TESTED["digits_table"], figure="tables", control=True),
    _census("linear", "a linear layer", "une couche linéaire", primary=True),
    _census("batch_norm", "a BatchNorm", "une BatchNorm"),
    _census("layer_norm", "a LayerNorm", "une LayerNorm"),
    _census("dropout", "a dropout", "un dropout"),
    exact("L27-blind",
        "However pixels are rearranged, there is a fully connected network that computes the same: it knows no neighbours.",
        "Quel que soit l'ordre des pixels, un réseau complètement connecté calcule la même chose : il ne connaît pas de voisins.",
        check="permutation_makes_no_difference", tolerance=1e-12),
    effect("L27-neighbourhood",
        "Neighbourhood is what a convolutional network uses on images and a fully connected one cannot: rearranged pixels cost it its lead.",
        "Le voisinage sert à un réseau convolutif sur des images, et pas à un réseau complètement connecté : réarranger les pixels lui coûte son avance.",
        measure="test/accuracy", contrast="permutation_interaction",
        conditions=[CONVOLUTIONAL, {}, {**CONVOLUTIONAL, **REARRANGED}, REARRANGED], above=POINTS, if_diverged=0.1,
        figure="structure",
        note="Convolutional minus fully connected, on images, minus the same on pixels rearranged alike in all images. Equal parameters (9,098 and 8,755), which is not equal computation. 1,000 training images."),
    effect("L27-images",
        "At equal parameters, a convolutional network classifies images better than a fully connected one.",
        "À nombre égal de paramètres, un réseau convolutif classe mieux des images qu'un réseau complètement connecté.",
        measure="test/accuracy", where={}, minus=CONVOLUTIONAL, below=-POINTS, if_diverged=0.1, figure="structure",
        primary=False, note="Test accuracy, fully connected minus convolutional."),
    effect("L27-shifted",
        "Images shifted by two pixels cost the fully connected network more than the convolutional one.",
        "Décaler les images de deux pixels coûte plus au réseau complètement connecté qu'au réseau convolutif.",
        measure="test_shift_loss", where={}, minus=CONVOLUTIONAL, above=POINTS, if_diverged=0.9, figure="structure",
        primary=False,
        note="Loss of test accuracy, mean over four directions; neither has seen shifted images in training."),
    equivalence("L27-rearranged",
        "Rearranged pixels make no difference to a fully connected network.",
        "Réarranger les pixels ne change rien pour un réseau complètement connecté.",
        measure="test/accuracy", where=REARRANGED, minus={"permute": False}, within=POINTS, if_diverged=0.1,
        figure="structure", primary=False),
    effect("L27-text-order",
        "So it is with text: rearranged characters cost a convolutional network its lead.",
        "De même pour du texte : réarranger les caractères coûte son avance à un réseau convolutif.",
        measure="test/accuracy", contrast="permutation_interaction",
        conditions=[TEXT_CONVOLUTIONAL, TEXT, {**TEXT_CONVOLUTIONAL, **REARRANGED}, {**TEXT, **REARRANGED}],
        above=POINTS, if_diverged=0.1, figure="structure", primary=False,
        note="Which of ten documents a window of 64 characters is from. Equal parameters (36,618 and 37,006)."),
]
# fmt: on

experiment = Experiment(
    title="What fully connected networks are good for",
    title_fr="À quoi servent les réseaux complètement connectés",
    data=("fashion_mnist", "digits"),
    grid=[
        axes(config=list(TABLES)),
        axes(permute=[False, True]),
        axes(config=["convolutional", "text_fully_connected", "text_convolutional"], permute=[False, True]),
    ],
    measures=("test_logistic", "test_forest"),
    claims=CLAIMS,
    figures=["tables", "families", "structure", "examples"],
)
