"""A larger batch saves steps and spends samples: the number of iterations is not the cost."""

from experiments.core.definitions import Experiment, Tuning, Value, axes, effect, equivalence, exact, measured

BATCHES = "Stochastic, batch... Ou mini-batch"
SIZES: tuple[Value, ...] = (1, 4, 16, 64, 256, "full")
# "As the batch grows" means a rank correlation of more than .7, half of the variance of the ranks.
MONOTONE = 0.7
TEN_TIMES = 1.0
HALF_AS_MANY_AGAIN = 0.18
# A run that never arrives counts with its budget of steps, and with the samples of that many full batches.
BUDGET = 1500
MOST_SAMPLES = 1500 * 1200

CONDITIONS = [{"batch_size": size, "lr": "tuned"} for size in SIZES]


def _with(size: Value) -> dict[str, Value]:
    return {"batch_size": size, "lr": "tuned"}


RANKS = "Spearman's rank correlation over six batch sizes, 1 to all 1,200 samples, one number a seed; each size has the learning rate that takes it to the target in the fewest steps on other seeds."

# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L52-steps-fall",
        "The larger the batch, the fewer steps it takes to the same training loss.",
        "Plus le lot est grand, moins il faut de pas pour atteindre la même erreur d'apprentissage.",
        measure="steps_to_target", contrast="rank_correlation_with_batch_size", conditions=CONDITIONS,
        below=-MONOTONE, if_diverged=BUDGET, arrived="arrived", figure="cost_by_batch_size", slide=BATCHES, note=RANKS),
    effect("L52-samples-rise",
        "The larger the batch, the more samples it takes to the same training loss.",
        "Plus le lot est grand, plus il faut d'exemples pour atteindre la même erreur d'apprentissage.",
        measure="samples_to_target", contrast="rank_correlation_with_batch_size", conditions=CONDITIONS,
        above=MONOTONE, if_diverged=MOST_SAMPLES, arrived="arrived", figure="cost_by_batch_size", slide=BATCHES,
        note=RANKS),
    effect("L52-steps-saved",
        "Batches of all samples take less than a tenth of the steps that single samples take.",
        "Des lots de tous les exemples demandent moins d'un dixième des pas que demandent des exemples seuls.",
        measure="decades_of_steps", where=_with("full"), minus={"batch_size": 1}, below=-TEN_TIMES, if_diverged=3.18,
        arrived="arrived", figure="cost_by_batch_size", slide=BATCHES,
        note="log₁₀ of the steps to the target; a diverged run counts with the budget of 1,500."),
    effect("L52-samples-spent",
        "Yet they use more than ten times as many samples: the number of iterations is not the cost.",
        "Mais ils utilisent plus de dix fois plus d'exemples : le coût n'est pas le nombre d'itérations.",
        measure="decades_of_samples", where=_with("full"), minus={"batch_size": 1}, above=TEN_TIMES, if_diverged=6.26,
        arrived="arrived", figure="cost_by_batch_size", slide=BATCHES,
        note="log₁₀ of the samples used, each as often as it was; a diverged run counts with 1,500 full batches."),
    effect("L52-diminishing",
        "Beyond 64 samples a batch, going on to all 1,200 takes more than ten times as many samples.",
        "Au-delà de 64 exemples par lot, passer à tous les 1 200 demande plus de dix fois plus d'exemples.",
        measure="decades_of_samples", where=_with("full"), minus={"batch_size": 64}, above=TEN_TIMES, if_diverged=6.26,
        arrived="arrived", figure="cost_by_batch_size", slide=BATCHES, source="beyond",
        note="If all samples at once halved the number of steps, it would be 9.4 times."),
    equivalence("L52-gradient-variance",
        "The variance of a batch's gradient falls as one over the size of the batch.",
        "La variance du gradient d'un lot décroît comme l'inverse de la taille du lot.",
        measure="slope_error", check="gradient_variance", within=0.05, figure="gradient_variance", slide=BATCHES,
        source="beyond",
        note="Slope of log variance against log size, 1 to 64 of 1,200 digits, plus 1; the network is untrained."),
    effect("L52-control",
        "The larger the batch, the fewer samples it takes to the same training loss.",
        "Plus le lot est grand, moins il faut d'exemples pour atteindre la même erreur d'apprentissage.",
        measure="samples_to_target", contrast="rank_correlation_with_batch_size", conditions=CONDITIONS,
        below=-MONOTONE, if_diverged=MOST_SAMPLES, arrived="arrived", figure="cost_by_batch_size", slide=BATCHES,
        control=True),
    equivalence("L52-small-batches",
        "Batches of four take as many samples as single samples do, within a factor of one and a half.",
        "Des lots de quatre demandent autant d'exemples que des exemples seuls, à un facteur 1,5 près.",
        measure="decades_of_samples", where=_with(4), minus={"batch_size": 1}, within=HALF_AS_MANY_AGAIN,
        if_diverged=6.26, arrived="arrived", figure="cost_by_batch_size", slide=BATCHES, source="beyond",
        primary=False,
        note="As long as the noise of the gradient is what limits the step, a batch is almost free."),
    measured("L52-seconds",
        "Single samples take longer to the target, on this machine, than batches of 64.",
        "Des exemples seuls mettent plus longtemps à la cible, sur cette machine, que des lots de 64.",
        measure="decades_of_seconds", where=_with(1), minus={"batch_size": 64}, figure="cost_by_batch_size",
        slide=BATCHES,
        note="log₁₀ of the seconds of a whole run, set-up included. Shown, not judged: another machine has others."),
    exact("L52-unbiased",
        "The mean of an epoch's batch gradients, at the same weights, is the gradient of all samples.",
        "La moyenne des gradients des lots d'une époque, aux mêmes poids, est le gradient de tous les exemples.",
        check="batch_gradients", tolerance=1e-12, slide=BATCHES, source="beyond", note="Batches of equal size."),
]
# fmt: on

experiment = Experiment(
    title="Batch size",
    title_fr="La taille des lots",
    data=("digits", "fashion_mnist"),
    scale_data={"full": "fashion_mnist"},
    grid=[axes(batch_size=SIZES, lr="tuned")],
    # Four trials each, a factor of two apart, around the best of a pilot on other seeds. All runs end at the same
    # training loss, so a validation loss could not choose: the fewest steps to the target do, on the tuning seeds.
    tuning=Tuning(
        "lr",
        by="batch_size",
        candidates={
            1: (0.0125, 0.025, 0.05, 0.1),
            4: (0.05, 0.1, 0.2, 0.4),
            16: (0.1, 0.2, 0.4, 0.8),
            64: (0.2, 0.4, 0.8, 1.6),
            256: (0.2, 0.4, 0.8, 1.6),
            "full": (0.2, 0.4, 0.8, 1.6),
        },
        minimize="steps_to_target",
    ),
    measures=("seconds", "arrived"),
    claims=CLAIMS,
    figures=("cost_by_batch_size", "loss_by_steps_and_samples", "gradient_variance"),
)
