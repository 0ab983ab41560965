"""Two linear layers are one; a non-linearity between them, with biases, draws what no line can."""

from collections.abc import Mapping

from experiments.core.definitions import Claim, Experiment, axes

TWO_NEURONS = "Combinons deux neurones"
NON_LINEARITY = "Non-linéarité"
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
    return Claim(
        f"L10-{name}",
        statement=f"{title} between two linear layers classifies five points better than nothing between them.",
        statement_fr=f"{title_fr} entre deux couches linéaires classe cinq points mieux que rien entre elles.",
        slide=TWO_NEURONS,
        kind="effect",
        measure="test/accuracy",
        contrast="smallest_pair_difference",
        conditions=_on_all_data(name, STACK),
        above=FIVE_POINTS,
        if_diverged=CHANCE,
        primary=primary,
        figure="accuracy_by_activation",
        note="The smallest difference of three data sets: noisy XOR, moons, circles. Same start, eight hidden units.",
        holds=holds,
    )


def _needs_bias(name: str, title: str, title_fr: str, primary: bool) -> Claim:
    return Claim(
        f"L13-{name}",
        statement=f"On a noisy XOR, {title} classifies five points better with biases than without.",
        statement_fr=f"Sur un XOR bruité, {title_fr} classe cinq points mieux avec des biais que sans.",
        slide=NON_LINEARITY,
        kind="effect",
        measure="test/accuracy",
        where={"activation": name},
        minus={"bias": False},
        above=FIVE_POINTS,
        if_diverged=CHANCE,
        primary=primary,
        figure="accuracy_by_activation",
    )


def _learns_xor(name: str, title: str, title_fr: str, width: int, primary: bool) -> Claim:
    words, mots = {2: ("two hidden units", "deux unités cachées"), 8: ("eight hidden units", "huit unités cachées")}[
        width
    ]
    return Claim(
        f"L11-{name}-{width}",
        statement=f"Trained from a random start, {words} of {title} usually learn the four points of XOR.",
        statement_fr=f"Entraînées d'un départ aléatoire, {mots} {title_fr} apprennent en général les quatre points de XOR.",
        slide=TWO_NEURONS,
        kind="proportion",
        measure="solved",
        where={"config": "four_points", "activation": name, "width": width},
        above=THREE_OF_FOUR,
        if_diverged=0.0,
        source="beyond",
        primary=primary,
        figure="hidden_units",
        note="All four points right after 120 steps. Two units suffice in principle; whether training finds them is asked.",
        holds=f"with eight hidden units (L11-{name}-8)" if width == 2 else "",
    )


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
    claims=[
        Claim(
            "L08-collapse",
            statement="Linear layers in a row compute exactly what one linear layer computes.",
            statement_fr="Des couches linéaires à la suite calculent exactement ce que calcule une seule couche linéaire.",
            slide=TWO_NEURONS,
            kind="exact",
            check="collapse",
            tolerance=1e-12,
            note="Two to four layers of random sizes, in double precision.",
        ),
        Claim(
            "L08-same",
            statement="Trained on two moons, two linear layers classify neither better nor worse than one.",
            statement_fr="Entraînées sur deux lunes, deux couches linéaires ne classent ni mieux ni moins bien qu'une seule.",
            slide=TWO_NEURONS,
            kind="equivalence",
            measure="test/accuracy",
            contrast="largest_pair_difference",
            conditions=[{"config": "moons", "activation": STACK}, {"config": "linear_moons"}],
            within=TWO_POINTS,
            if_diverged=CHANCE,
            figure="accuracy_by_activation",
            note=(
                "The same functions, but not the same path to them: where a line has nothing to learn, as on XOR, the two "
                "stop at different lines."
            ),
        ),
        Claim(
            "L09-expansion",
            statement="Written out, the composition of two linear layers has the bias of the second in its constant term.",
            statement_fr="Développée, la composition de deux couches linéaires a dans son terme constant le biais de la seconde.",
            slide=TWO_NEURONS,
            kind="transcription",
            check="expansion",
            tolerance=1e-12,
            note="The transcription has the weight w21 in one place where its other lines have the bias w01.",
        ),
        _solves("tanh", "A tanh", "Une tanh", True),
        _solves("relu", "A ReLU", "Une ReLU", False),
        _solves(
            "sigmoid",
            "A sigmoid",
            "Une sigmoïde",
            False,
            holds="on noisy XOR and on circles, each by itself; not on moons",
        ),
        Claim(
            "L10-control",
            statement="On two moons, two linear layers classify five points better than one.",
            statement_fr="Sur deux lunes, deux couches linéaires classent cinq points mieux qu'une seule.",
            slide=TWO_NEURONS,
            kind="effect",
            measure="test/accuracy",
            contrast="smallest_pair_difference",
            conditions=[{"config": "moons", "activation": STACK}, {"config": "linear_moons"}],
            above=FIVE_POINTS,
            if_diverged=CHANCE,
            source="beyond",
            control=True,
            figure="accuracy_by_activation",
            note="Expected to be refuted: it shows that this experiment can refute.",
        ),
        _learns_xor("tanh", "tanh", "de tanh", 2, True),
        _learns_xor("tanh", "tanh", "de tanh", 8, True),
        _learns_xor("relu", "ReLU", "ReLU", 2, False),
        _learns_xor("relu", "ReLU", "ReLU", 8, False),
        Claim(
            "L12-no-gradient",
            statement="Below a sign, the gradient of every weight is exactly zero.",
            statement_fr="Sous un signe, le gradient de tous les poids est exactement nul.",
            slide=NON_LINEARITY,
            kind="exact",
            check="sign_gradient",
            tolerance=0.0,
            note="By autograd, of the layer before the activation; with a tanh or a sigmoid it is not zero.",
        ),
        Claim(
            "L12-cost",
            statement="On circles, eight units of tanh classify five points better than eight signs.",
            statement_fr="Sur les cercles, huit unités de tanh classent cinq points mieux que huit signes.",
            slide=NON_LINEARITY,
            kind="effect",
            measure="test/accuracy",
            where={"config": "circles", "activation": "tanh"},
            minus={"activation": "sign"},
            above=FIVE_POINTS,
            if_diverged=CHANCE,
            figure="accuracy_by_activation",
            note="The signs' layer stays where it began; the output still learns on eight random features.",
        ),
        Claim(
            "L12-straight-through",
            statement="On circles, letting the gradient pass straight through the sign gains five points.",
            statement_fr="Sur les cercles, laisser passer le gradient tout droit à travers le signe fait gagner cinq points.",
            slide=NON_LINEARITY,
            kind="effect",
            measure="test/accuracy",
            where={"config": "circles", "activation": "sign_straight_through"},
            minus={"activation": "sign"},
            above=FIVE_POINTS,
            if_diverged=CHANCE,
            source="beyond",
            primary=False,
            figure="accuracy_by_activation",
            note="Straight-through estimator: backwards, the derivative of a clipped identity in the place of 0.",
        ),
        Claim(
            "L12-tanh-moves",
            statement="Below a tanh, the weights that a sign would leave in their place move.",
            statement_fr="Sous une tanh, les poids qu'un signe laisserait en place bougent.",
            slide=NON_LINEARITY,
            kind="measured",
            measure="first_layer_movement",
            where={"config": "circles", "activation": "tanh"},
            minus={"activation": "sign"},
            primary=False,
            note="Largest change of a weight of the first layer during training, minus that below a sign, which is 0.",
        ),
        Claim(
            "L13-odd",
            statement="Without biases a tanh network is an odd function, and XOR is an even one.",
            statement_fr="Sans biais, un réseau à tanh est une fonction impaire, et XOR est une fonction paire.",
            slide=NON_LINEARITY,
            kind="exact",
            check="odd_without_bias",
            tolerance=1e-12,
            note="So it gets exactly two of the four points right, whatever its weights.",
        ),
        _needs_bias("tanh", "tanh", "tanh", True),
        _needs_bias("sigmoid", "the sigmoid", "la sigmoïde", True),
        _needs_bias("relu", "ReLU", "ReLU", False),
    ],
    figures=("boundaries", "boundaries_forming", "accuracy_by_activation", "hidden_units"),
)
