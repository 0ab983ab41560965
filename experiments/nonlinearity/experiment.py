"""Two linear layers are one; a non-linearity between them, with biases, draws what no line can."""

from collections.abc import Mapping

from experiments.core.definitions import (
    Claim,
    Experiment,
    axes,
    effect,
    equivalence,
    exact,
    measured,
    proportion,
    transcription,
)

TWO_NEURONS = "Combinons deux neurones"
# Of test accuracy: the smallest gain of interest; and a difference of less than half of it is none.
FIVE_POINTS = 0.05
TWO_POINTS = 0.02
# "Solves XOR" is to be relied on if three networks of four do.
THREE_OF_FOUR = 0.75
CHANCE = 0.5
STACK = "identity"

Values = Mapping[str, str | float | bool]


def _on_all_data(first: str, second: str) -> list[Values]:
    """Pairs of conditions, one a data set: two activations, or `linear`, which is one linear layer."""
    pairs: list[Values] = []
    for data in ("", "moons", "circles"):
        for model in (first, second):
            linear = model == "linear"
            config = "_".join(word for word in ("linear" if linear else "", data) if word)
            named: dict[str, str] = {"config": config} if config else {}
            pairs.append(named if linear else {**named, "activation": model})
    return pairs


def _solves(name: str, title: str, title_fr: str, primary: bool, holds: str = "") -> Claim:
    return effect(f"L10-{name}",
        f"{title} between two linear layers classifies five points better than nothing between them.",
        f"{title_fr} entre deux couches linéaires classe cinq points mieux que rien entre elles.",
        measure="test/accuracy", contrast="smallest_pair_difference", conditions=_on_all_data(name, STACK),
        above=FIVE_POINTS, if_diverged=CHANCE, figure="accuracy_by_activation", slide=TWO_NEURONS, primary=primary,
        note="The smallest difference of three data sets: noisy XOR, moons, circles. Same start, eight hidden units.",
        holds=holds)  # fmt: skip


def _needs_bias(name: str, title: str, title_fr: str, primary: bool) -> Claim:
    return effect(f"L13-{name}",
        f"On a noisy XOR, {title} classifies five points better with biases than without.",
        f"Sur un XOR bruité, {title_fr} classe cinq points mieux avec des biais que sans.",
        measure="test/accuracy", where={"activation": name}, minus={"bias": False}, above=FIVE_POINTS,
        if_diverged=CHANCE, figure="accuracy_by_activation", primary=primary)  # fmt: skip


def _learns_xor(name: str, title: str, title_fr: str, width: int, primary: bool) -> Claim:
    words, mots = ("two", "deux") if width == 2 else ("eight", "huit")
    return proportion(f"L11-{name}-{width}",
        f"Trained from a random start, {words} hidden units of {title} usually learn the four points of XOR.",
        f"Entraînées d'un départ aléatoire, {mots} unités cachées {title_fr} apprennent en général les quatre points de XOR.",
        measure="solved", where={"config": "four_points", "activation": name, "width": width}, above=THREE_OF_FOUR,
        if_diverged=0.0, figure="hidden_units", source="beyond", primary=primary,
        note="All four points right after 120 steps. Two units suffice in principle; whether training finds them is asked.",
        holds=f"with eight hidden units (L11-{name}-8)" if width == 2 else "")  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    exact("L08-collapse",
        "Linear layers in a row compute exactly what one linear layer computes.",
        "Des couches linéaires à la suite calculent exactement ce que calcule une seule couche linéaire.",
        check="collapse", tolerance=1e-12,
        note="Two to four layers of random sizes, in double precision."),
    equivalence("L08-same",
        "Trained on two moons, two linear layers classify neither better nor worse than one.",
        "Entraînées sur deux lunes, deux couches linéaires ne classent ni mieux ni moins bien qu'une seule.",
        measure="test/accuracy", contrast="largest_pair_difference",
        conditions=[{"config": "moons", "activation": STACK}, {"config": "linear_moons"}], within=TWO_POINTS,
        if_diverged=CHANCE, figure="accuracy_by_activation",
        note="The same functions, but not the same path to them: where a line has nothing to learn, as on XOR, the two stop at different lines."),
    transcription("L09-expansion",
        "Written out, the composition of two linear layers has the bias of the second in its constant term.",
        "Développée, la composition de deux couches linéaires a dans son terme constant le biais de la seconde.",
        check="expansion", tolerance=1e-12,
        note="The transcription has the weight w21 in one place where its other lines have the bias w01."),
    _solves("tanh", "A tanh", "Une tanh", True),
    _solves("relu", "A ReLU", "Une ReLU", False),
    _solves("sigmoid", "A sigmoid", "Une sigmoïde", False,
        holds="on noisy XOR and on circles, each by itself; not on moons"),
    effect("L10-control",
        "On two moons, two linear layers classify five points better than one.",
        "Sur deux lunes, deux couches linéaires classent cinq points mieux qu'une seule.",
        measure="test/accuracy", contrast="smallest_pair_difference",
        conditions=[{"config": "moons", "activation": STACK}, {"config": "linear_moons"}], above=FIVE_POINTS,
        if_diverged=CHANCE, figure="accuracy_by_activation", slide=TWO_NEURONS, control=True),
    _learns_xor("tanh", "tanh", "de tanh", 2, True),
    _learns_xor("tanh", "tanh", "de tanh", 8, True),
    _learns_xor("relu", "ReLU", "ReLU", 2, False),
    _learns_xor("relu", "ReLU", "ReLU", 8, False),
    exact("L12-no-gradient",
        "Below a sign, the gradient of every weight is exactly zero.",
        "Sous un signe, le gradient de tous les poids est exactement nul.",
        check="sign_gradient", tolerance=0.0,
        note="By autograd, of the layer before the activation; with a tanh or a sigmoid it is not zero."),
    effect("L12-cost",
        "On circles, eight units of tanh classify five points better than eight signs.",
        "Sur les cercles, huit unités de tanh classent cinq points mieux que huit signes.",
        measure="test/accuracy", where={"config": "circles", "activation": "tanh"}, minus={"activation": "sign"},
        above=FIVE_POINTS, if_diverged=CHANCE, figure="accuracy_by_activation",
        note="The signs' layer stays where it began; the output still learns on eight random features."),
    effect("L12-straight-through",
        "On circles, letting the gradient pass straight through the sign gains five points.",
        "Sur les cercles, laisser passer le gradient tout droit à travers le signe fait gagner cinq points.",
        measure="test/accuracy", where={"config": "circles", "activation": "sign_straight_through"},
        minus={"activation": "sign"}, above=FIVE_POINTS, if_diverged=CHANCE, figure="accuracy_by_activation",
        source="beyond", primary=False,
        note="Straight-through estimator: backwards, the derivative of a clipped identity in the place of 0."),
    measured("L12-tanh-moves",
        "Below a tanh, the weights that a sign would leave in their place move.",
        "Sous une tanh, les poids qu'un signe laisserait en place bougent.",
        measure="first_layer_movement", where={"config": "circles", "activation": "tanh"},
        minus={"activation": "sign"},
        note="Largest change of a weight of the first layer during training, minus that below a sign, which is 0."),
    exact("L13-odd",
        "Without biases a tanh network is an odd function, and XOR is an even one.",
        "Sans biais, un réseau à tanh est une fonction impaire, et XOR est une fonction paire.",
        check="odd_without_bias", tolerance=1e-12,
        note="So it gets exactly two of the four points right, whatever its weights."),
    _needs_bias("tanh", "tanh", "tanh", True),
    _needs_bias("sigmoid", "the sigmoid", "la sigmoïde", True),
    _needs_bias("relu", "ReLU", "ReLU", False),
]
# fmt: on

experiment = Experiment(
    title="Non-linearity",
    title_fr="La non-linéarité",
    grid=[
        axes(config=["linear", "linear_moons", "linear_circles"]),
        axes(activation=["identity", "sign", "sign_straight_through", "sigmoid", "tanh", "relu"]),
        axes(
            config=["moons", "circles"],
            activation=["identity", "sign", "sign_straight_through", "sigmoid", "tanh", "relu"],
        ),
        axes(activation=["sigmoid", "tanh", "relu"], bias=False),
        axes(config="four_points", activation=["tanh", "relu"], width=[2, 8]),
    ],
    measures=("solved", "first_layer_movement"),
    claims=CLAIMS,
    figures=("boundaries", "boundaries_forming", "accuracy_by_activation", "hidden_units"),
)
