"""Many hyper-parameters: how many of them work, with normalisation and without, and what a comparison owes to them."""

from experiments.core.definitions import Experiment, Value, axes, effect, measured

SLIDE = "Multiplication des modules et des hyper-paramètres"
NORMALIZATIONS = ("none", "batch", "layer")
DEPTHS = (1, 3, 6)
# Half a decade apart.
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# A diverged network is worth a guess among ten classes.
CHANCE = 0.1
# More than two of eighteen: more than the two edges by which a band of rates widens when it gets a step wider.
TWO_CELLS = 2.0
# One pair in ten: among nine architectures, three or four pairs of thirty-six.
ONE_IN_TEN = 0.1
FIVE_POINTS = 0.05

GRID: list[dict[str, Value]] = [
    {"normalization": normalization, "depth": depth, "lr": rate}
    for normalization in NORMALIZATIONS
    for depth in DEPTHS
    for rate in RATES
]
WORKABLE_NOTE = (
    "Cells: depth 1, 3 or 6, six learning rates from 0.01 to 3. Workable: test accuracy at most five points below the "
    "best of all cells of the same seed, after 152 steps of plain gradient descent."
)
SWAPPED_NOTE = (
    "Nine architectures: three depths, each without normalisation, with BatchNorm and with LayerNorm. Tuned: each at the "
    "rate that is best for it on validation; shared: all at the best rate of one of them, averaged over which. A pair is "
    "turned round if both differences, opposite, are more than a point."
)

# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L58-batchnorm",
        "With BatchNorm more combinations of depth and learning rate work: over two of eighteen more.",
        "Avec BatchNorm, davantage de couples profondeur–pas fonctionnent : plus de deux sur dix-huit en plus.",
        measure="test/accuracy", contrast="batch_more_workable", conditions=GRID, above=TWO_CELLS, if_diverged=CHANCE,
        resolution=1.0, figure="workable_cells", slide=SLIDE, note=WORKABLE_NOTE),
    effect("L58-layernorm",
        "With LayerNorm more combinations of depth and learning rate work: over two of eighteen more.",
        "Avec LayerNorm, davantage de couples profondeur–pas fonctionnent : plus de deux sur dix-huit en plus.",
        measure="test/accuracy", contrast="layer_more_workable", conditions=GRID, above=TWO_CELLS, if_diverged=CHANCE,
        resolution=1.0, figure="workable_cells", slide=SLIDE, note=WORKABLE_NOTE),
    effect("L58-shared-rates",
        "With BatchNorm more learning rates work at every depth, so that one can be guessed beforehand.",
        "Avec BatchNorm, davantage de pas fonctionnent à toutes les profondeurs : on peut en deviner un d'avance.",
        measure="test/accuracy", contrast="batch_more_shared_rates", conditions=GRID, above=0.5, if_diverged=CHANCE,
        resolution=1.0, figure="workable_cells", slide=SLIDE, primary=False,
        note="Of six rates, how many are workable at depth 1, 3 and 6 alike. At least one more on average would be of use; half of one is the edge."),
    effect("L72-swapped",
        "A learning rate that all share turns round the order of more than one pair of architectures in ten.",
        "Un pas commun à toutes inverse l'ordre de plus d'une paire d'architectures sur dix.",
        measure="test/accuracy", contrast="swapped_pairs", conditions=GRID, above=ONE_IN_TEN, if_diverged=CHANCE,
        resolution=1 / 324, figure="swapped_ranks", slide=SLIDE, note=SWAPPED_NOTE,
        holds="of gaps instead of orders: a shared rate makes some that tuning closes (L72-false-gaps)"),
    effect("L72-false-gaps",
        "A shared rate sets over one pair in ten more than five points apart that are not, each tuned.",
        "Un pas commun sépare de plus de cinq points plus d'une paire sur dix qui, réglée, ne l'est pas.",
        measure="test/accuracy", contrast="false_gaps", conditions=GRID, above=ONE_IN_TEN, if_diverged=CHANCE,
        resolution=1 / 324, figure="swapped_ranks", slide=SLIDE, note=SWAPPED_NOTE),
    measured("L72-samples-alone",
        "Share of the pairs that change places between the validation and the test sample, all tuned alike.",
        "Part des paires qui s'inversent entre validation et test, toutes réglées de la même façon.",
        measure="test/accuracy", contrast="swapped_by_sample", conditions=GRID, if_diverged=CHANCE,
        figure="swapped_ranks", slide=SLIDE, source="beyond",
        note="What two samples of 300 do by themselves: the floor of L72-swapped."),
    effect("L58-control",
        "Where nothing needs it, at depth 1 and a middling learning rate, BatchNorm still adds five points.",
        "Là où rien ne l'exige, à profondeur 1 et pour un pas moyen, BatchNorm ajoute encore cinq points.",
        measure="test/accuracy", where={"normalization": "batch", "depth": 1, "lr": 0.3},
        minus={"normalization": "none"}, above=FIVE_POINTS, if_diverged=CHANCE, slide=SLIDE, control=True),
]
# fmt: on

experiment = Experiment(
    title="Many hyper-parameters",
    title_fr="Beaucoup d'hyper-paramètres",
    data=("digits", "fashion_mnist"),
    scale_data={"full": "fashion_mnist"},
    grid=[axes(normalization=list(NORMALIZATIONS), depth=list(DEPTHS), lr=list(RATES))],
    claims=CLAIMS,
    figures=("workable_cells", "swapped_ranks"),
)
