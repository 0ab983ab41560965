"""What normalisation does to training: its speed, the landscape it goes through, and the price of small batches."""

from experiments.core.definitions import Claim, Experiment, Tuning, Value, axes, effect, equivalence, exact, measured

# Smallest effects of interest: half as many steps (in log2), a gradient that changes by a quarter less (log2 of .76),
# five points of accuracy, and one prediction in ten.
HALF = -1.0
A_QUARTER_LESS = -0.4
FIVE_POINTS = 0.05
ONE_IN_TEN = 0.1
# A diverged network is worth a guess among ten classes, and never arrives: log2 of the budget of 400 steps.
CHANCE = 0.1
NEVER = 8.644

Point = dict[str, Value]
BATCH: Point = {"normalization": "batch"}
AFTER: Point = {"normalization": "batch", "normalization_position": "after"}
LAYER: Point = {"normalization": "layer"}


def _watched(network: str, normalization: Point | None = None) -> Point:
    """A run whose landscape is recorded: of the sigmoids, or of the ReLU network."""
    return {"config": {"sigmoid": "landscape", "relu": "relu"}[network], **(normalization or {})}


def _batch_size(size: int, normalization: str) -> Point:
    return {"config": "batch_size", "batch_size": size, "normalization": normalization}


def _halves_the_steps(id: str, name: str, name_fr: str, ours: Point, theirs: Point, note: str) -> Claim:
    return effect(id,
        f"{name}, three layers of sigmoids reach 90 % in less than half as many steps.",
        f"{name_fr}, trois couches de sigmoïdes atteignent 90 % en moins de la moitié des pas.",
        measure="log2_steps_to_target", contrast="first_minus_last", conditions=[ours, theirs], below=HALF,
        if_diverged=NEVER, arrived="reached_target", resolution=0.1, figure="steps_to_target",
        note=f"log2 of the steps until 90 % validation accuracy, in whole epochs of 20, at most 400. {note}")  # fmt: skip


EQUAL = "The same learning rate, 1, for both (as Ioffe & Szegedy 2015 compare)."
OWN = "Each with its own learning rate, chosen on validation loss among as many."
MATCHED = (
    "Relative change of the gradient over a move of one learning rate along it, on the batch; log2 of the ratio, averaged "
    "over the octaves of the training loss that both went through."
)


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    _halves_the_steps("L49-speed-before", "With BatchNorm before them", "Avec BatchNorm avant elles", _watched("sigmoid", BATCH),
        _watched("sigmoid"), EQUAL),
    _halves_the_steps("L49-speed-after", "With BatchNorm after them", "Avec BatchNorm après elles", _watched("sigmoid", AFTER),
        _watched("sigmoid"), EQUAL),
    _halves_the_steps("L49-speed-tuned",
        "With BatchNorm, and each network at its own best rate",
        "Avec BatchNorm, chaque réseau avec son meilleur pas",
        {**BATCH, "lr": "tuned"}, {"lr": "tuned"}, OWN),
    effect("L49-depth",
        "From one layer to three, training slows down by a factor of two less with BatchNorm than without.",
        "D'une couche à trois, l'apprentissage ralentit d'un facteur deux de moins avec BatchNorm que sans.",
        measure="log2_steps_to_target", contrast="growth_with_depth",
        conditions=[_watched("sigmoid", BATCH), _watched("sigmoid"), {**BATCH, "depth": 1}, {"depth": 1}], below=HALF,
        if_diverged=NEVER, resolution=0.1, figure="steps_to_target", source="beyond", primary=False,
        note="A network that does not arrive counts as 400 steps, which makes the difference smaller than it is."),
    effect("L49-landscape",
        "With BatchNorm, before or after the activation, the gradient changes by a quarter less over a step.",
        "Avec BatchNorm, avant ou après l'activation, le gradient change d'un quart de moins le long d'un pas.",
        measure="log2_gradient_change", contrast="largest_matched_change",
        conditions=[_watched("relu", BATCH), _watched("relu", AFTER), _watched("relu")], below=A_QUARTER_LESS,
        figure="landscape",
        note=f"ReLU network that trains with and without, the weaker of the two positions. {MATCHED}"),
    effect("L49-landscape-sigmoid",
        "With BatchNorm the gradient of a sigmoid network changes by a quarter less over a step.",
        "Avec BatchNorm, le gradient d'un réseau à sigmoïdes change d'un quart de moins le long d'un pas.",
        measure="log2_gradient_change", contrast="matched_gradient_change",
        conditions=[_watched("sigmoid", BATCH), _watched("sigmoid")], below=A_QUARTER_LESS, figure="landscape",
        primary=False,
        note=f"At learning rate 1, where both train; the plateau of the plain network is smooth. {MATCHED}",
        holds="with ReLU (L49-landscape)"),
    measured("L49-loss-range",
        "How far the loss of a ReLU network moves over up to four steps, with BatchNorm against without.",
        "De combien la perte d'un réseau ReLU bouge sur quatre pas au plus, avec BatchNorm contre sans.",
        measure="log2_loss_range", contrast="matched_loss_range",
        conditions=[_watched("relu", BATCH), _watched("relu")], figure="landscape",
        note="log2 of the ratio at equal training loss."),
    measured("L50-landscape",
        "How much the gradient of a ReLU network changes over a step, with LayerNorm against without.",
        "De combien le gradient d'un réseau ReLU change le long d'un pas, avec LayerNorm contre sans.",
        measure="log2_gradient_change", contrast="matched_gradient_change",
        conditions=[_watched("relu", LAYER), _watched("relu")], figure="landscape", note=MATCHED),
    _halves_the_steps("L50-speed",
        "With LayerNorm, and each network at its own best rate",
        "Avec LayerNorm, chaque réseau avec son meilleur pas",
        {**LAYER, "lr": "tuned"}, {"lr": "tuned"}, OWN),
    effect("L50-accuracy",
        "With LayerNorm three layers of sigmoids classify better after 400 steps, each at its own best rate.",
        "Avec LayerNorm, trois couches de sigmoïdes classent mieux après 400 pas, chacune avec son meilleur pas.",
        measure="test/accuracy", where={**LAYER, "lr": "tuned"}, minus={"normalization": "none"}, above=FIVE_POINTS,
        if_diverged=CHANCE, figure="learning_curves", primary=False,
        note="Plain gradient descent; the gradient itself, which the slide is about, is measured in `vanishing`.",
        holds="of the gradient at depth 8 (L50-layernorm-gradient); of the accuracy, nowhere that was tried"),
    effect("L50-accuracy-adam",
        "With LayerNorm three layers of sigmoids classify better after 400 steps of Adam as well.",
        "Avec LayerNorm, trois couches de sigmoïdes classent mieux après 400 pas d'Adam aussi.",
        measure="test/accuracy", where={**LAYER, "optimizer": "adam", "lr": "tuned"}, minus={"normalization": "none"},
        above=FIVE_POINTS, if_diverged=CHANCE, figure="learning_curves", source="beyond", primary=False,
        note="Each at its own best rate. Adam rescales each coordinate, and so hides much of a vanishing gradient.",
        holds="of the gradient at depth 8 (L50-layernorm-gradient); of the accuracy, nowhere that was tried"),
    effect("L68-two-samples",
        "With batches of two, BatchNorm classifies worse than LayerNorm: it estimates from two samples.",
        "Avec des lots de deux, BatchNorm classe moins bien que LayerNorm : il estime sur deux exemples.",
        measure="test/accuracy", where=_batch_size(2, "batch"), minus={"normalization": "layer"}, below=-FIVE_POINTS,
        if_diverged=CHANCE, figure="batch_sizes",
        note="ReLU network after 200 steps, the same learning rate for both."),
    equivalence("L68-usual-batch",
        "With batches of 32, BatchNorm and LayerNorm classify alike, within five points.",
        "Avec des lots de 32, BatchNorm et LayerNorm classent de la même façon, à cinq points près.",
        measure="test/accuracy", where=_batch_size(32, "batch"), minus={"normalization": "layer"}, within=FIVE_POINTS,
        if_diverged=CHANCE, figure="batch_sizes", source="beyond"),
    effect("L68-modes",
        "With BatchNorm and batches of two, one prediction in ten more than with 128 depends on the mode.",
        "Avec BatchNorm et des lots de deux, une prédiction sur dix de plus qu'avec 128 dépend du mode.",
        measure="changed_predictions", where=_batch_size(2, "batch"), minus={"batch_size": 128}, above=ONE_IN_TEN,
        if_diverged=1.0, resolution=0.01, figure="batch_sizes",
        note="Share of training samples whose predicted class differs between training and evaluation mode at equal weights, in the second half of 200 steps."),
    effect("L68-control",
        "With batches of 32, as with two, BatchNorm classifies worse than LayerNorm.",
        "Avec des lots de 32, comme avec deux, BatchNorm classe moins bien que LayerNorm.",
        measure="test/accuracy", where=_batch_size(32, "batch"), minus={"normalization": "layer"}, below=-FIVE_POINTS,
        if_diverged=CHANCE, figure="batch_sizes", control=True),
    exact("L68-running-averages",
        "In evaluation BatchNorm uses running averages of mean and variance, a tenth of the newest batch in each.",
        "En évaluation, BatchNorm prend des moyennes glissantes de moyenne et variance, un dixième du dernier lot.",
        check="running_averages", tolerance=1e-12,
        note="From mean 0 and variance 1; the batch's variance divided by n - 1, although training divides by n."),
    exact("L68-order-only",
        "Of a batch of two BatchNorm keeps only which sample is the larger: the outputs are +1 and −1.",
        "D'un lot de deux, BatchNorm ne garde que lequel est le plus grand : les sorties sont +1 et −1.",
        check="batch_of_two", tolerance=1e-4,
        note="Up to the ε of 1e-5 in the denominator, for samples at least 1 apart."),
    equivalence("L68-one-over-root",
        "The outputs of the two modes of BatchNorm approach each other as one over the root of the batch size.",
        "Les sorties des deux modes de BatchNorm se rapprochent comme l'inverse de la racine de la taille du lot.",
        measure="slope_error", check="mode_gap_slope", within=0.05, source="beyond", primary=False,
        note="Slope of log gap over log batch size from 16 to 256, minus −½; standard normal samples."),
    exact("L50-sample-alone",
        "LayerNorm treats each sample separately: alone or among others, in training or in evaluation.",
        "LayerNorm traite chaque exemple séparément : seul ou parmi d'autres, à l'entraînement ou en évaluation.",
        check="sample_alone", tolerance=1e-12),
]
# fmt: on

experiment = Experiment(
    title="Normalisation",
    title_fr="La normalisation",
    data=("digits", "fashion_mnist"),
    scale_data={"full": "fashion_mnist"},
    grid=[
        # The network of Ioffe & Szegedy and one of ReLUs, all at one learning rate, and the landscapes they go through.
        axes(config=["landscape", "relu"], normalization=["none", "batch", "layer"]),
        axes(config=["landscape", "relu"], normalization="batch", normalization_position="after"),
        # The sigmoids with one layer, where nothing is deep.
        axes(normalization=["none", "batch"], depth=1),
        # Each at its own.
        axes(normalization=["none", "batch", "layer"], lr="tuned"),
        axes(normalization=["none", "layer"], optimizer="adam", lr="tuned"),
        axes(config="batch_size", normalization=["batch", "layer"], batch_size=[2, 4, 8, 32, 128]),
    ],
    tuning=Tuning(
        "lr",
        by="optimizer",
        # A factor of four apart: a pilot on other seeds found the best rates of the arms a factor of ten apart.
        candidates={"sgd": (0.1, 0.4, 1.6, 6.4), "adam": (0.001, 0.003, 0.01, 0.03)},
    ),
    measures=(
        "log2_steps_to_target",
        "reached_target",
        "log2_gradient_change",
        "log2_loss_range",
        "changed_predictions",
    ),
    claims=CLAIMS,
    figures=("landscape", "batch_sizes", "steps_to_target", "learning_curves"),
)
