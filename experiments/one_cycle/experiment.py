"""One cycle of the learning rate: what it speeds up, against what, and where its rate must not be copied."""

from experiments.core.definitions import (
    Claim,
    Experiment,
    Overrides,
    Source,
    Tuning,
    Value,
    axes,
    effect,
    equivalence,
    exact,
)

STANDARD = "Fonction standard d'apprentissage"
# Budgets of 50, 75, 100 and 200 steps: each its own overlay, 50 the base.
BUDGETS = ("", "steps_75", "steps_100", "steps_200")
# Smallest effects of interest: three tenths fewer steps, a fifth fewer steps, .02 nats, half a point of accuracy.
THREE_TENTHS_FEWER = 0.15
A_FIFTH_FEWER = 0.1
NATS = 0.02
HALF_A_POINT = 0.005
FIVE_POINTS = 0.05
# Two schedules differ by less than the seeds do: as many as have test samples of their own.
PAIRS = 20
# A diverged network is worth a guess among ten classes.
GUESS = 2.303
CHANCE = 0.1
# An image whose optimisation diverged is far from any target: a loss of 10.
FAR = 1.0
BUDGET_DECADES = 3.0


def _image(budget: str, schedule: str) -> dict[str, Value]:
    overlay: dict[str, Value] = {"config": budget} if budget else {}
    return {**overlay, "schedule": schedule, "lr": "tuned"}


def _weights(schedule: str) -> Overrides:
    return {"config": "weights", "schedule": schedule, "lr": "tuned"}


def _saves_budget(id: str, schedule: str, name: str, name_fr: str, source: Source) -> Claim:
    """The smallest total budget whose final loss reaches the target: one cycle against another schedule."""
    return effect(id,
        f"A tuned cycle brings the noise to its target on a smaller total budget of steps than {name}.",
        f"Un cycle réglé amène le bruit à sa cible avec un budget total de pas plus petit que {name_fr}.",
        measure="final_decades", contrast="budget_saved",
        conditions=[_image(budget, kind) for kind in ("one_cycle", schedule) for budget in BUDGETS],
        below=-THREE_TENTHS_FEWER, if_diverged=FAR, figure="budget_to_target", slide=STANDARD, source=source,
        note="log₁₀ of the smallest of 50, 75, 100 and 200 steps whose final loss is at most .01, cycle minus the other; none of them counts as 400. Six rates for each schedule and budget, .02 to 350, on three other seeds.")  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    _saves_budget("L55-constant", "constant", "a tuned constant rate", "un taux constant réglé", "lecture"),
    _saves_budget("L55-cosine", "cosine", "a tuned cosine decay", "une décroissance en cosinus réglée", "beyond"),
    effect("L56-constant",
        "On a network's weights, one cycle ends with a lower test loss than a constant rate.",
        "Sur les poids d'un réseau, un cycle finit avec une erreur de test plus basse qu'un taux constant.",
        measure="test/loss", where=_weights("one_cycle"), minus={"schedule": "constant"}, below=-NATS, n=PAIRS,
        if_diverged=GUESS, figure="weights_by_schedule", slide=STANDARD,
        note="160 steps of AdamW on Fashion-MNIST; each schedule with the rate of six that has the lowest validation loss on three other seeds."),
    equivalence("L56-cosine",
        "On a network's weights, one cycle ends where a cosine decay does: what helps is that the rate falls.",
        "Sur les poids d'un réseau, un cycle finit là où finit une décroissance en cosinus : ce qui aide, c'est que le taux diminue.",
        measure="test/loss", where=_weights("one_cycle"), minus={"schedule": "cosine"}, within=NATS, n=PAIRS,
        if_diverged=GUESS, figure="weights_by_schedule", slide=STANDARD, source="beyond"),
    equivalence("L56-linear",
        "On a network's weights, one cycle ends where a linear decay does.",
        "Sur les poids d'un réseau, un cycle finit là où finit une décroissance linéaire.",
        measure="test/loss", where=_weights("one_cycle"), minus={"schedule": "linear"}, within=NATS, n=PAIRS,
        if_diverged=GUESS, figure="weights_by_schedule", slide=STANDARD, source="beyond"),
    equivalence("L57-misuse",
        "The slide's largest rate, made for an image, leaves a network's weights at chance.",
        "Le taux maximal de la diapositive, fait pour une image, laisse les poids d'un réseau au hasard.",
        measure="accuracy_above_chance", where={"config": "weights", "schedule": "one_cycle", "lr": 0.5},
        within=FIVE_POINTS, if_diverged=0.0, figure="weights_by_schedule", slide=STANDARD, source="beyond",
        note="A trap, not what the slide does: there the rate of .5 is that of 64 pixels."),
    effect("L57-control",
        "The slide's largest rate makes a network classify better than the tuned largest rate does.",
        "Le taux maximal de la diapositive fait mieux classer un réseau que le taux maximal réglé.",
        measure="test/accuracy", where={"config": "weights", "schedule": "one_cycle", "lr": 0.5},
        minus={"lr": "tuned"}, above=FIVE_POINTS, if_diverged=CHANCE, figure="weights_by_schedule", slide=STANDARD,
        control=True),
    effect("L56-accuracy",
        "One cycle also classifies better on a network's weights than a constant rate.",
        "Un cycle classe aussi mieux, sur les poids d'un réseau, qu'un taux constant.",
        measure="test/accuracy", where=_weights("one_cycle"), minus={"schedule": "constant"}, above=HALF_A_POINT,
        n=PAIRS, if_diverged=CHANCE, figure="weights_by_schedule", slide=STANDARD, primary=False),
    effect("L55-same-rate",
        "In 1,000 steps with the slide's largest rate, the cycle is first at the target sooner than a constant rate.",
        "En 1 000 pas au taux maximal de la diapositive, le cycle atteint la cible plus tôt qu'un taux constant.",
        measure="decades_to_target", where={"config": "pictures", "schedule": "one_cycle"},
        minus={"schedule": "constant"}, below=-A_FIFTH_FEWER, if_diverged=BUDGET_DECADES, arrived="arrived",
        figure="noise_to_image", slide=STANDARD, primary=False,
        note="Not tuned, and read off in the middle of the cycle: a run that is stopped there has paid for no cycle.",
        holds="at the end of training, of a network's weights (L56-constant)"),
    effect("L55-other-image",
        "What the frozen network takes for the target image is not that image.",
        "Ce que le réseau figé prend pour l'image cible n'est pas cette image.",
        measure="input/distance", where={"config": "pictures", "schedule": "one_cycle"}, above=0.5,
        figure="noise_to_image", slide=STANDARD, source="beyond", primary=False,
        note="Root mean square of noise minus target over the pixels, whose standard deviation is 1. Ten outputs do not determine 64 pixels."),
    exact("L71-overwritten",
        "A cycle starts at 1/25 of its largest rate and ends at 1/250,000: the rate that the optimiser was given counts for nothing.",
        "Un cycle commence à 1/25 de son taux maximal et finit à 1/250 000 : le taux donné à l'optimiseur ne compte pas.",
        check="ends_of_the_cycle", tolerance=1e-12, slide=STANDARD,
        note="Of the schedule used here, which has torch's defaults but leaves the momentum alone; torch's would also move it from .95 to .85 and back."),
]
# fmt: on

experiment = Experiment(
    title="One cycle of the learning rate",
    title_fr="Un cycle du taux d'apprentissage",
    # The weights are those of a network that learns Fashion-MNIST; the noise becomes one of the bundled digits.
    data=("digits", "fashion_mnist"),
    scale_data={"full": "fashion_mnist"},
    grid=[
        axes(config="weights", schedule=["constant", "one_cycle", "cosine", "linear"], lr="tuned"),
        axes(config="weights", schedule="one_cycle", lr=0.5),
        axes(config="pictures", schedule=["one_cycle", "constant"]),
        axes(schedule=["one_cycle", "constant", "cosine"], lr="tuned"),
        axes(config=BUDGETS[1:], schedule=["one_cycle", "constant", "cosine"], lr="tuned"),
    ],
    # Six trials each; a factor of seven apart for images, whose best rates a pilot found from .1 (constant) to 60
    # (cycle), and of three for weights.
    tuning=Tuning(
        "lr",
        by="config",
        candidates={
            **dict.fromkeys(BUDGETS, (0.02, 0.14, 1.0, 7.0, 50.0, 350.0)),
            "weights": (0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15),
        },
        minimize="final_decades",
    ),
    measures=("final_decades",),
    claims=CLAIMS,
    figures=("noise_to_image", "schedules", "budget_to_target", "weights_by_schedule"),
)
