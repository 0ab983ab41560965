"""Far from the supervision, and in saturated sigmoids, the gradient dies."""

from experiments.core.definitions import (
    Claim,
    Experiment,
    Tuning,
    axes,
    effect,
    equivalence,
    exact,
    measured,
    proportion,
)

VANISHING = "Gradient vanishing"
IMPROVING = "Amélioration du gradient"
# Smallest effects of interest, the same for every claim of a kind: a factor of two per layer, and five points of
# test accuracy, a quarter of the networks. "Trains" means that more than half of the networks leave the plateau.
FACTOR_TWO = 0.3
FIVE_POINTS = 0.05
A_QUARTER = 0.25
MOST = 0.5
# A diverged network is worth a guess among ten classes, and it has not left the plateau.
CHANCE = 0.1


def _at_start(**overrides: str | float | bool) -> dict[str, str | float | bool]:
    return {"config": "initialization", **overrides}


def _follows_theory(activation: str, name: str, name_fr: str) -> Claim:
    return equivalence(f"L44-theory-{activation}",
        f"With {name}, delta changes per layer by the factor that mean-field theory predicts.",
        f"Avec {name_fr}, delta change à chaque couche du facteur que prédit la théorie de champ moyen.",
        measure="decay_rate_error", contrast="largest_deviation",
        conditions=[_at_start(activation=activation, initialization=each) for each in ("default", "xavier", "he")],
        within=0.05,
        note="Measured over predicted factor minus 1, at the worst of three initialisations: default, Xavier, He.")  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L44-sigmoid-decay",
        "With sigmoids, delta at least halves with every layer away from the supervision.",
        "Avec des sigmoïdes, delta est au moins divisé par deux à chaque couche qui éloigne de la supervision.",
        measure="delta_decades_per_layer", where=_at_start(activation="sigmoid"), below=-FACTOR_TWO),
    equivalence("L44-exponential",
        "The decay is exponential: as steep near the input as near the supervision.",
        "La décroissance est exponentielle : aussi rapide près de l'entrée que près de la supervision.",
        measure="decay_drift", where=_at_start(activation="sigmoid"), within=0.1),
    _follows_theory("identity", "the identity", "l'identité"),
    _follows_theory("sigmoid", "the sigmoid", "la sigmoïde"),
    _follows_theory("tanh", "tanh", "tanh"),
    _follows_theory("relu", "ReLU", "ReLU"),
    equivalence("L44-relu-he-constant",
        "With ReLU and He's initialisation, delta keeps its size from layer to layer.",
        "Avec ReLU et l'initialisation de He, delta garde sa taille de couche en couche.",
        measure="delta_decades_per_layer", where=_at_start(activation="relu", initialization="he"), within=0.05),
    effect("L44-control",
        "With ReLU and He's initialisation, delta at least halves with every layer, as with sigmoids.",
        "Avec ReLU et l'initialisation de He, delta est au moins divisé par deux à chaque couche, comme avec des sigmoïdes.",
        measure="delta_decades_per_layer", where=_at_start(activation="relu", initialization="he"), below=-FACTOR_TWO,
        control=True),
    measured("L44-weight-gradient",
        "With tanh, the gradient of the weights hides the decay that delta shows.",
        "Avec tanh, le gradient des poids cache la décroissance que montre delta.",
        measure="weight_decades_per_layer", where=_at_start(activation="tanh"), source="beyond",
        note="Forward signal and delta shrink alike, so their product looks flat (Glorot & Bengio 2010)."),
    effect("L45-saturated",
        "A saturated sigmoid unit gets less than a tenth of the gradient of an unsaturated one.",
        "Une sigmoïde saturée reçoit moins d'un dixième du gradient d'une unité non saturée.",
        measure="saturated_gradient_decades", where=_at_start(activation="sigmoid", depth=1, gain=10.0), below=-1.0,
        note="Saturated: 6 ≤ |a| < 8; unsaturated: |a| < 1; weights ten times PyTorch's default, one hidden layer."),
    equivalence("L45-as-derivative",
        "Saturation costs a sigmoid unit just what its derivative says.",
        "La saturation coûte à une sigmoïde exactement ce que dit sa dérivée.",
        measure="saturation_error", where=_at_start(activation="sigmoid", depth=1, gain=10.0), within=0.1),
    equivalence("L45-relu",
        "An active ReLU unit loses nothing however large its activation.",
        "Une unité ReLU active ne perd rien, si grande que soit son activation.",
        measure="saturated_gradient_decades", where=_at_start(activation="relu", depth=1, gain=10.0), within=0.1,
        slide=IMPROVING),
    exact("L46-sigmoid",
        "σ(x) = 1 − σ(−x) = eˣ/(eˣ+1), σ(0) = ½ and σ′ = σ(1 − σ) ≤ ¼.",
        "σ(x) = 1 − σ(−x) = eˣ/(eˣ+1), σ(0) = ½ et σ′ = σ(1 − σ) ≤ ¼.",
        check="sigmoid_identities", tolerance=1e-12),
    exact("L65-active-relu",
        "The derivative of ReLU is exactly 1 where the unit is active and 0 where it is not.",
        "La dérivée de ReLU vaut exactement 1 là où l'unité est active et 0 ailleurs.",
        check="active_relu_derivative", tolerance=0.0),
    measured("L65-dead-units",
        "The price of ReLU is dead units: no sample activates them after training.",
        "Le prix de ReLU, ce sont les unités mortes : aucun exemple ne les active après l'apprentissage.",
        measure="dead_units", where={"activation": "relu", "initialization": "he", "lr": "tuned", "depth": 8}),
    effect("L47-equal-depth-4",
        "At equal initialisation and depth 4, ReLU classifies better than the sigmoid.",
        "À initialisation égale et profondeur 4, ReLU classe mieux que la sigmoïde.",
        measure="test/accuracy", where={"activation": "relu", "depth": 4}, minus={"activation": "sigmoid"},
        above=FIVE_POINTS, if_diverged=CHANCE),
    equivalence("L47-equal-depth-1",
        "At depth 1, where nothing is far from the supervision, the activation makes no difference.",
        "À profondeur 1, où rien n'est loin de la supervision, l'activation ne change rien.",
        measure="test/accuracy", where={"activation": "relu", "depth": 1}, minus={"activation": "sigmoid"},
        within=FIVE_POINTS, if_diverged=CHANCE),
    proportion("L47-equal-depth-8",
        "At equal initialisation and depth 8, ReLU networks leave the plateau more often than sigmoid networks.",
        "À initialisation égale et profondeur 8, les réseaux ReLU quittent le plateau plus souvent que ceux à sigmoïdes.",
        measure="left_plateau", where={"activation": "relu", "depth": 8}, minus={"activation": "sigmoid"},
        above=A_QUARTER, if_diverged=0.0, note="Both with PyTorch's default initialisation.",
        holds="at depth 4 (L47-equal-depth-4); at depth 8 with He's initialisation (L47-relu-he-trains)"),
    proportion("L47-sigmoid-stuck",
        "At depth 8, most sigmoid networks never leave the plateau.",
        "À profondeur 8, la plupart des réseaux à sigmoïdes ne quittent jamais le plateau.",
        measure="left_plateau", where={"activation": "sigmoid", "depth": 8}, below=MOST, if_diverged=0.0,
        slide=VANISHING),
    proportion("L47-relu-default-fails",
        "At depth 8 with PyTorch's default initialisation, most ReLU networks fail as well.",
        "À profondeur 8, avec l'initialisation par défaut de PyTorch, la plupart des réseaux ReLU échouent aussi.",
        measure="left_plateau", where={"activation": "relu", "depth": 8}, below=MOST, if_diverged=0.0, source="beyond"),
    proportion("L47-relu-he-trains",
        "At depth 8 with He's initialisation, most ReLU networks leave the plateau.",
        "À profondeur 8, avec l'initialisation de He, la plupart des réseaux ReLU quittent le plateau.",
        measure="left_plateau", where={"activation": "relu", "initialization": "he", "lr": "tuned", "depth": 8},
        above=MOST, if_diverged=0.0),
    effect("L47-own-depth-4",
        "At depth 4, each with its own initialisation and learning rate, ReLU classifies better than the sigmoid.",
        "À profondeur 4, chacune avec son initialisation et son pas, ReLU classe mieux que la sigmoïde.",
        measure="test/accuracy", where={"activation": "relu", "initialization": "he", "lr": "tuned", "depth": 4},
        minus={"activation": "sigmoid", "initialization": "xavier", "gain": 4.0}, above=FIVE_POINTS,
        if_diverged=CHANCE,
        note="ReLU with He, sigmoid with Xavier × 4 (Glorot's gain), learning rates chosen by validation loss.",
        holds="with PyTorch's default initialisation for both (L47-equal-depth-4)"),
    effect("L47-own-depth-8",
        "At depth 8, each with its own initialisation and learning rate, ReLU classifies better than the sigmoid.",
        "À profondeur 8, chacune avec son initialisation et son pas, ReLU classe mieux que la sigmoïde.",
        measure="test/accuracy", where={"activation": "relu", "initialization": "he", "lr": "tuned", "depth": 8},
        minus={"activation": "sigmoid", "initialization": "xavier", "gain": 4.0}, above=FIVE_POINTS,
        if_diverged=CHANCE,
        note="ReLU with He, sigmoid with Xavier × 4 (Glorot's gain), learning rates chosen by validation loss."),
    equivalence("L47-own-depth-1",
        "At depth 1, each with its own initialisation and learning rate, the activation makes no difference.",
        "À profondeur 1, chacune avec son initialisation et son pas, l'activation ne change rien.",
        measure="test/accuracy", where={"activation": "relu", "initialization": "he", "lr": "tuned", "depth": 1},
        minus={"activation": "sigmoid", "initialization": "xavier", "gain": 4.0}, within=FIVE_POINTS,
        if_diverged=CHANCE, primary=False),
    effect("L49-batchnorm-gradient",
        "BatchNorm slows the decay of delta in a sigmoid network by at least a factor of two per layer.",
        "BatchNorm ralentit la décroissance de delta dans un réseau à sigmoïdes d'au moins un facteur deux par couche.",
        measure="delta_decades_per_layer", where=_at_start(normalization="batch"), minus={"normalization": "none"},
        above=FACTOR_TWO),
    proportion("L49-batchnorm-trains",
        "With BatchNorm, most sigmoid networks of depth 8 leave the plateau.",
        "Avec BatchNorm, la plupart des réseaux à sigmoïdes de profondeur 8 quittent le plateau.",
        measure="left_plateau", where={"normalization": "batch"}, above=MOST, if_diverged=0.0),
    effect("L50-layernorm-gradient",
        "LayerNorm slows the decay of delta in a sigmoid network by at least a factor of two per layer.",
        "LayerNorm ralentit la décroissance de delta dans un réseau à sigmoïdes d'au moins un facteur deux par couche.",
        measure="delta_decades_per_layer", where=_at_start(normalization="layer"), minus={"normalization": "none"},
        above=FACTOR_TWO),
    proportion("L50-layernorm-trains",
        "With LayerNorm, most sigmoid networks of depth 8 leave the plateau.",
        "Avec LayerNorm, la plupart des réseaux à sigmoïdes de profondeur 8 quittent le plateau.",
        measure="left_plateau", where={"normalization": "layer"}, above=MOST, if_diverged=0.0,
        holds="with BatchNorm (L49-batchnorm-trains) or residual connections (L44-residual-trains) in its place"),
    effect("L44-residual-gradient",
        "Residual connections slow the decay of delta in a sigmoid network by at least a factor of two per layer.",
        "Des connexions résiduelles ralentissent la décroissance de delta d'au moins un facteur deux par couche.",
        measure="delta_decades_per_layer", where=_at_start(residual=True), minus={"residual": False}, above=FACTOR_TWO,
        source="beyond"),
    proportion("L44-residual-trains",
        "With residual connections, most sigmoid networks of depth 8 leave the plateau.",
        "Avec des connexions résiduelles, la plupart des réseaux à sigmoïdes de profondeur 8 quittent le plateau.",
        measure="left_plateau", where={"residual": True}, above=MOST, if_diverged=0.0, source="beyond"),
]
# fmt: on

experiment = Experiment(
    title="Vanishing gradients",
    title_fr="Le gradient qui disparaît",
    data=("digits", "fashion_mnist"),
    scale_data={"full": "fashion_mnist"},
    grid=[
        # Measured at initialisation, one step each.
        axes(
            config="initialization",
            activation=["identity", "sigmoid", "tanh", "relu"],
            initialization=["default", "xavier", "he"],
        ),
        axes(config="initialization", activation=["sigmoid", "relu"], depth=[2, 4, 6, 16]),
        axes(config="initialization", normalization=["batch", "layer"]),
        axes(config="initialization", residual=True),
        axes(config="initialization", activation=["sigmoid", "relu"], depth=1, gain=10.0),
        # Trained: at equal initialisation, and each activation with its own and its own learning rate.
        axes(activation=["sigmoid", "relu"], depth=[1, 4, 8]),
        axes(activation="sigmoid", initialization="xavier", gain=4.0, lr="tuned", depth=[1, 4, 8]),
        axes(activation="relu", initialization="he", lr="tuned", depth=[1, 4, 8]),
        axes(normalization=["batch", "layer"]),
        axes(residual=True),
    ],
    scale_grid={
        "full": [
            axes(config="initialization", activation=["sigmoid", "relu"], depth=[24, 32]),
            axes(activation=["sigmoid", "relu"], depth=16),
        ]
    },
    # Four trials each, a factor of five apart; a pilot on other seeds placed them around each activation's best.
    tuning=Tuning(
        "lr", by="activation", candidates={"sigmoid": (0.04, 0.2, 1.0, 5.0), "relu": (0.002, 0.01, 0.05, 0.25)}
    ),
    measures=(
        "delta_decades_per_layer",
        "predicted_decades_per_layer",
        "weight_decades_per_layer",
        "decay_drift",
        "saturated_gradient_decades",
        "saturated_derivative_decades",
        "left_plateau",
        "dead_units",
    ),
    claims=CLAIMS,
    figures=("delta_by_layer", "decay_against_depth", "activation_functions", "learning_curves", "left_plateau_share"),
)
