"""Gradient clipping keeps training from blowing up; whether it regularises is another question."""

from experiments.core.definitions import Claim, Experiment, Tuning, axes, effect, measured, proportion

# Half a decade apart.
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
LARGE = 1.0
# Half and nine tenths of the norms of the unclipped network are below: measured on the tuning seeds, at rate 0.1.
MEDIAN, NINTH_DECILE = 1.05, 1.6
# Smallest effects of interest: a factor of two in the learning rate, a quarter of the networks, five points of accuracy,
# 0.05 nats of held-out cross-entropy.
FACTOR_TWO = 0.3
HALF_A_DECADE = 0.5
A_QUARTER = 0.25
FIVE_POINTS = 0.05
NATS = 0.05
FAILED = 1.0
CHANCE = 0.1
GUESS = 2.303  # log 10


def _regularizes(id: str, threshold: float, name: str, name_fr: str, primary: bool, holds: str = "") -> Claim:
    return effect(id,
        f"Clipping at the {name} of the norms lowers the held-out loss at equal training loss.",
        f"Écrêter {name_fr} des normes abaisse le coût hors apprentissage, à coût d'apprentissage égal.",
        measure="val_loss_at_equal_training",
        where={"config": "fully_connected", "lr": "tuned", "gradient_clip_val": threshold},
        minus={"gradient_clip_val": 1.0e30}, below=-NATS, if_diverged=GUESS, figure="regularization", primary=primary,
        note="A fully connected network on 1,000 images of clothes, SGD, each arm with the learning rate that is best for it in this very measure on other seeds; on 2,000 validation images, where the training loss is 0.4.",
        holds=holds)  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L43-largest-rate",
        "With clipping, a recurrent network bears a learning rate at least twice as large before training fails.",
        "Avec l'écrêtage, un réseau récurrent supporte un pas au moins deux fois plus grand avant que l'apprentissage échoue.",
        measure="failed", contrast="log10_lr_gain",
        conditions=[{"config": config, "lr": rate} for config in ("clipped", "unclipped") for rate in RATES],
        above=FACTOR_TWO, if_diverged=FAILED, resolution=HALF_A_DECADE, figure="failures",
        note="Per seed, log10 of the largest learning rate below the first that fails, with clipping at 1 minus without. Failed: after 120 steps of SGD the training loss is no better than a guess, or no number. ReLU cell, 32 steps, on the digits."),
    proportion("L43-failures",
        "At a large learning rate, fewer networks fail with clipping.",
        "À un grand pas, moins de réseaux échouent avec l'écrêtage.",
        measure="failed", where={"config": "clipped", "lr": LARGE}, minus={"config": "unclipped"}, below=-A_QUARTER,
        if_diverged=FAILED, figure="failures", note="Learning rate 1, chosen beforehand."),
    effect("L43-control",
        "At a small learning rate, where nothing fails, clipping raises the test accuracy by five points.",
        "À un petit pas, où rien n'échoue, l'écrêtage augmente l'exactitude de test de cinq points.",
        measure="test/accuracy", where={"config": "clipped", "lr": 0.01}, minus={"config": "unclipped"},
        above=FIVE_POINTS, if_diverged=CHANCE, figure="failures", control=True),
    measured("L43-explosion",
        "Without clipping, single gradients are many times as large as at the start.",
        "Sans écrêtage, certains gradients sont bien des fois plus grands qu'au départ.",
        measure="log10_largest_norm", where={"config": "unclipped", "lr": 0.1}, figure="gradient_norms",
        note="log10 of the largest finite norm of the run, at learning rate 0.1; at the start it is about 1."),
    _regularizes("L37-clipping-median", MEDIAN, "median", "à la médiane", primary=True),
    _regularizes("L37-clipping-ninth", NINTH_DECILE, "90th percentile", "au 90e centile", primary=False,
        holds="of regularisation, nowhere that was tried; clipping bears larger learning rates (L43-largest-rate)"),
]
# fmt: on

experiment = Experiment(
    title="Gradient clipping",
    title_fr="L'écrêtage du gradient",
    data=("digits", "fashion_mnist"),
    scale_data={"full": "fashion_mnist"},
    grid=[
        axes(config=["unclipped", "clipped"], lr=RATES),
        axes(config="fully_connected", lr="tuned", gradient_clip_val=[1.0e30, NINTH_DECILE, MEDIAN]),
    ],
    # Each arm at its best in what is compared, which is infinite for a rate too small to get to that training loss in 500
    # steps. A factor of three apart; a pilot on other seeds placed them.
    tuning=Tuning("lr", candidates={"": (0.03, 0.1, 0.3)}, minimize="val_loss_at_equal_training"),
    measures=("failed", "log10_largest_norm", "best_val_loss", "val_loss_at_equal_training"),
    claims=CLAIMS,
    figures=("failures", "gradient_norms", "regularization"),
)
