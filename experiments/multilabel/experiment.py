"""Several labels a sample: one Bernoulli variable a label, against a softmax that shares a sample among its labels."""

from experiments.core.definitions import Experiment, Overrides, axes, effect, equivalence, exact, transcription

# Smallest effects of interest: two points of exact match or F1, and ten among the few samples without a label.
POINTS = 0.02
TEN_POINTS = 0.1
# Differences of two networks on one seed's texts vary more than these thresholds: twenty seeds where usual are ten.
SEEDS = 20

SOFTMAX: Overrides = {"loss": "label_softmax"}
SQUARED: Overrides = {"loss": "label_mse"}

# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    exact("L35-bernoulli",
        "Binary cross-entropy is the negative log-likelihood of labels that are independent.",
        "L'entropie croisée binaire est l'opposé de la log-vraisemblance d'étiquettes indépendantes.",
        check="bce_is_bernoulli", tolerance=1e-12),
    effect("L35-exact-match",
        "Binary cross-entropy finds exactly the labels of a sample more often than softmax with cross-entropy.",
        "L'entropie croisée binaire trouve exactement les étiquettes d'un exemple plus souvent que softmax et entropie croisée.",
        measure="test/exact_match/tuned", where={}, minus=SOFTMAX, above=POINTS, n=SEEDS, if_diverged=0.0,
        figure="scores",
        note="Softmax against equal shares of a sample's labels. Each loss with the threshold that is best on validation samples. Made-up word counts of texts with two subjects on average."),
    effect("L35-without-labels",
        "Of samples without any label, binary cross-entropy recognises more than softmax with cross-entropy.",
        "Parmi les exemples sans étiquette, l'entropie croisée binaire en reconnaît plus que softmax et entropie croisée.",
        measure="test/exact_match/labels=0", where={}, minus=SOFTMAX, above=TEN_POINTS, n=SEEDS, if_diverged=0.0,
        figure="by_number_of_labels",
        note="The same thresholds. Nothing forbids a threshold above an equal share, with which softmax could predict nothing: it is not the best one."),
    exact("L35-never-nothing",
        "Softmax always gives one label an equal share or more: with thresholds up to that, it never predicts nothing.",
        "Softmax donne toujours à une étiquette au moins une part égale : avec un seuil jusque-là, il ne prédit jamais rien du tout.",
        check="softmax_predicts_something", tolerance=1e-12),
    equivalence("L35-squared-error",
        "The squared error of sigmoids finds exactly the labels of a sample as often as binary cross-entropy.",
        "L'erreur quadratique de sigmoïdes trouve exactement les étiquettes d'un exemple aussi souvent que l'entropie croisée binaire.",
        measure="test/exact_match/tuned", where={}, minus=SQUARED, within=POINTS, n=SEEDS, if_diverged=0.0,
        figure="scores", source="beyond",
        note="Binary cross-entropy minus squared error: what counts is one output a label, not its cost."),
    effect("L35-micro-f1",
        "Counted label by label, binary cross-entropy is better than softmax with cross-entropy too.",
        "Compté étiquette par étiquette aussi, l'entropie croisée binaire vaut mieux que softmax et entropie croisée.",
        measure="test/micro_f1/tuned", where={}, minus=SOFTMAX, above=POINTS, n=SEEDS, if_diverged=0.0,
        figure="scores", source="beyond", primary=False,
        note="Micro-F1, each loss with the threshold that is best for it on validation samples.",
        holds="by less than two points: the lower end of the interval is above 0"),
    effect("L35-own-rule",
        "Without a chosen threshold, binary cross-entropy finds exactly the labels of a sample more often than softmax.",
        "Sans choisir de seuil, l'entropie croisée binaire trouve exactement les étiquettes d'un exemple plus souvent que softmax.",
        measure="test/exact_match", where={}, minus=SOFTMAX, above=POINTS, n=SEEDS, if_diverged=0.0, figure="scores",
        primary=False,
        note="Sigmoid above one half; softmax of at least an equal share."),
    effect("L35-control",
        "Of samples without any label, softmax with cross-entropy recognises more than binary cross-entropy.",
        "Parmi les exemples sans étiquette, softmax et entropie croisée en reconnaît plus que l'entropie croisée binaire.",
        measure="test/exact_match/labels=0", where={}, minus=SOFTMAX, below=-TEN_POINTS, n=SEEDS, if_diverged=0.0,
        figure="by_number_of_labels", control=True),
    transcription("L36-parentheses",
        "Read literally, the formula's minus covers its first term only, and it is no likelihood; with parentheses it is.",
        "Lu à la lettre, le moins de la formule ne porte que sur son premier terme, et ce n'est pas une vraisemblance ; avec des parenthèses, si.",
        check="parentheses", tolerance=1e-12, note="The two agree only where all labels are there."),
]
# fmt: on

experiment = Experiment(
    title="Several labels a sample",
    title_fr="Plusieurs étiquettes par exemple",
    data=("multi_label",),
    grid=[axes(loss=["bce", "label_softmax", "label_mse"])],
    measures=("test_exact_match_gain",),
    claims=CLAIMS,
    figures=["scores", "by_number_of_labels"],
)
