"""Every architecture of the lecture, trained on real data, reaches the score that it should."""

from experiments.core.definitions import Claim, Experiment, axes, effect, equivalence

# Smallest differences of interest: three points of accuracy, and five hundredths of R².
POINTS = 0.03
R2 = 0.05


def _as_good_as(id: str, config: str, name: str, name_fr: str, other: str, within: float, slide: str = "") -> Claim:
    """The difference to scikit-learn's score on the same split, seed by seed."""
    return equivalence(id,
        f"{name} scores as {other} does on the same split.",
        f"{name_fr} obtient le score de {other} sur le même découpage.",
        measure="test_score_minus_reference", where={"config": config} if config else {}, within=within, slide=slide,
        source="beyond",
        note="Score: accuracy of classes, R² of numbers. Reference: scikit-learn's, fitted to the same training split.")  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    _as_good_as("L02-perceptron", "perceptron", "The perceptron", "Le perceptron", "Perceptron", POINTS),
    _as_good_as("L29-linear-regression", "linear_regression",
        "One linear layer with the squared error", "Une couche linéaire avec l'erreur quadratique", "LinearRegression", R2),
    _as_good_as("L34-softmax-regression", "softmax_regression",
        "One linear layer with cross-entropy", "Une couche linéaire avec l'entropie croisée", "LogisticRegression", POINTS,
        slide="Supervision Multi-Classes"),
    _as_good_as("L08-linear-stack", "linear_stack",
        "A stack of linear layers", "Un empilement de couches linéaires", "LogisticRegression", POINTS),
    _as_good_as("L30-two-layer", "two_layer",
        "The two-layer network", "Le réseau à deux couches", "LinearRegression", R2, slide="DeuxCouches"),
    _as_good_as("L25-fully-connected", "",
        "The fully connected network", "Le réseau complètement connecté", "MLPClassifier", POINTS),
    _as_good_as("L21-modular", "modular",
        "The network of modules written by hand", "Le réseau de modules écrits à la main", "MLPClassifier", POINTS,
        slide="Architecture modulaire"),
    _as_good_as("L27-convolutional", "convolutional",
        "The convolutional network", "Le réseau convolutif", "SVC", POINTS),
    effect("L27-text",
        "The convolutional network tells the documents of short windows apart better than by chance.",
        "Le réseau convolutif reconnaît le document d'une courte fenêtre mieux que le hasard.",
        measure="test/accuracy", where={"config": "convolutional_text"}, above=0.15, source="beyond",
        note="Ten documents: chance is 0.1. No character of a test window occurs in training."),
    effect("L43-recurrent",
        "The recurrent network reads digits row by row with an accuracy of at least 0.9.",
        "Le réseau récurrent lit les chiffres ligne par ligne avec une exactitude d'au moins 0,9.",
        measure="test/accuracy", where={"config": "recurrent"}, above=0.9, source="beyond"),
    effect("L55-input-optimization",
        "A thousand steps bring noise within 0.01 of a test image, by what the network makes of both.",
        "Mille pas amènent le bruit à moins de 0,01 d'une image de test, vu par le réseau.",
        measure="loss_decades", where={"config": "input_optimization"}, below=-2.0,
        slide="Fonction standard d'apprentissage", source="beyond",
        note="log10 of the squared error between the outputs for the noise and those for the image."),
    effect("L25-control",
        "The fully connected network classifies digits five points worse than one linear layer.",
        "Le réseau complètement connecté classe les chiffres cinq points moins bien qu'une couche linéaire.",
        measure="test/accuracy", where={}, minus={"config": "softmax_regression"}, below=-0.05, control=True),
]
# fmt: on

experiment = Experiment(
    title="Every architecture",
    title_fr="Toutes les architectures",
    # Each config names its own; all of them come with scikit-learn.
    data=("bundled",),
    grid=[
        axes(),
        axes(
            config=[
                "perceptron",
                "linear_regression",
                "softmax_regression",
                "linear_stack",
                "two_layer",
                "modular",
                "convolutional",
                "convolutional_text",
                "recurrent",
                "input_optimization",
            ]
        ),
    ],
    measures=("test_score", "reference_score"),
    claims=CLAIMS,
    figures=["scores"],
)
