"""Variants of gradient descent: how much they gain over the plain one, and on which budget."""

from experiments.core.definitions import Claim, Experiment, Overrides, Tuning, axes, effect, equivalence

VARIANTS_SLIDE = "Plein de variantes très efficaces pour le gradient"
# Smallest difference of interest in cross-entropy, in nats: 4 % of what plain descent ends with.
NATS = 0.02
# Most of eleven variants.
MOST = 5.5
# A third fewer steps: log10 of 2/3.
A_THIRD_FEWER = 0.176
# A diverged run is worth a guess among ten classes, ln 10, and never reaches the target.
GUESS = 2.303
BUDGET_DECADES = 2.302

SGD: Overrides = {"lr": "tuned"}
MOMENTUM: Overrides = {"lr": "tuned", "momentum": 0.9}
NESTEROV: Overrides = {"lr": "tuned", "momentum": 0.9, "nesterov": True}
ADAM: Overrides = {"lr": "tuned", "optimizer": "adam"}
# What divides by a mean of squared gradients, and what was made of Adam.
OTHERS = ("adagrad", "adadelta", "rmsprop")
FAMILY = ("adam", "adamax", "nadam", "amsgrad", "adamw", "radam")
VARIANTS: tuple[Overrides, ...] = (
    MOMENTUM,
    NESTEROV,
    *({"lr": "tuned", "optimizer": name} for name in (*OTHERS, *FAMILY)),
)
EQUAL_TRIALS = "Each with the learning rate of four that has the lowest validation loss on three other seeds."


def _decayed(overrides: Overrides) -> Overrides:
    return {"config": "decayed", **overrides}


def _beats_sgd(id: str, name: str, name_fr: str, where: Overrides, primary: bool = False) -> Claim:
    """The variant ends lower than plain descent, on the short budget."""
    return effect(id,
        f"After 200 steps at a constant rate, {name} has a lower training loss than plain gradient descent.",
        f"Après 200 pas à taux constant, {name_fr} a une erreur d'apprentissage plus basse que la descente simple.",
        measure="final_loss", contrast="largest_difference", conditions=[SGD, where], below=-NATS, if_diverged=GUESS,
        figure="final_losses", slide=VARIANTS_SLIDE, primary=primary, note=EQUAL_TRIALS)  # fmt: skip


def _beats_sgd_decayed(id: str, name: str, name_fr: str, where: Overrides) -> Claim:
    """The variant ends lower than plain descent, on the budget with decay."""
    return effect(id,
        f"After 400 steps whose rate falls to zero, {name} still has a lower training loss than plain descent.",
        f"Après 400 pas dont le taux tombe à zéro, {name_fr} a encore une erreur d'apprentissage plus basse que la descente simple.",
        measure="final_loss", contrast="largest_difference", conditions=[_decayed(SGD), _decayed(where)], below=-NATS,
        if_diverged=GUESS, figure="final_losses", slide=VARIANTS_SLIDE, note=EQUAL_TRIALS)  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L53-most-ahead",
        "Most of eleven variants are ahead of plain gradient descent after 200 steps at a constant rate.",
        "La plupart de onze variantes devancent la descente simple après 200 pas à taux constant.",
        measure="final_loss", contrast="variants_ahead", conditions=[SGD, *VARIANTS], above=MOST, if_diverged=GUESS,
        resolution=1.0, figure="final_losses", slide=VARIANTS_SLIDE,
        note="The number of variants whose training loss is lower by more than .02 nats, seed by seed. " + EQUAL_TRIALS),
    _beats_sgd("L53-momentum", "momentum", "l'inertie", MOMENTUM, primary=True),
    _beats_sgd("L53-adam", "Adam", "Adam", ADAM, primary=True),
    _beats_sgd_decayed("L53-momentum-decayed", "momentum", "l'inertie", MOMENTUM),
    _beats_sgd_decayed("L53-adam-decayed", "Adam", "Adam", ADAM),
    effect("L53-control",
        "Plain gradient descent with decay has a lower training loss than Adam with the same decay.",
        "La descente simple décroissante a une erreur d'apprentissage plus basse qu'Adam avec la même décroissance.",
        measure="final_loss", where=_decayed(SGD), minus=ADAM, below=-NATS, if_diverged=GUESS, figure="final_losses",
        slide=VARIANTS_SLIDE, control=True),
    _beats_sgd("L53-nesterov", "Nesterov's momentum", "l'inertie de Nesterov", NESTEROV),
    _beats_sgd("L53-adagrad", "Adagrad", "Adagrad", {"lr": "tuned", "optimizer": "adagrad"}),
    _beats_sgd("L53-adadelta", "Adadelta", "Adadelta", {"lr": "tuned", "optimizer": "adadelta"}),
    _beats_sgd("L53-rmsprop", "RMSprop", "RMSprop", {"lr": "tuned", "optimizer": "rmsprop"}),
    _beats_sgd("L53-adamax", "Adamax", "Adamax", {"lr": "tuned", "optimizer": "adamax"}),
    _beats_sgd("L53-nadam", "NAdam", "NAdam", {"lr": "tuned", "optimizer": "nadam"}),
    _beats_sgd("L53-amsgrad", "AMSGrad", "AMSGrad", {"lr": "tuned", "optimizer": "amsgrad"}),
    _beats_sgd("L53-adamw", "AdamW", "AdamW", {"lr": "tuned", "optimizer": "adamw"}),
    _beats_sgd("L53-radam", "RAdam", "RAdam", {"lr": "tuned", "optimizer": "radam"}),
    effect("L53-steps",
        "Adam reaches a training loss of 0.6 in at least a third fewer steps than plain gradient descent.",
        "Adam atteint une erreur d'apprentissage de 0,6 en au moins un tiers de pas de moins que la descente simple.",
        measure="decades_to_target", where=ADAM, minus={"optimizer": "sgd"}, below=-A_THIRD_FEWER,
        if_diverged=BUDGET_DECADES, arrived="arrived", figure="loss_curves", slide=VARIANTS_SLIDE, primary=False,
        note="log₁₀ of steps; the loss is looked at whenever the number of steps has grown by 5 %."),
    effect("L53-which-adam",
        "Which of six Adams it is matters less than having one instead of plain descent.",
        "Le choix entre six Adam compte moins que d'en avoir un au lieu de la descente simple.",
        measure="final_loss", contrast="spread_minus_gain",
        conditions=[SGD, *({"lr": "tuned", "optimizer": name} for name in FAMILY)], below=-NATS, if_diverged=GUESS,
        figure="final_losses", slide=VARIANTS_SLIDE, source="beyond", primary=False,
        note="Largest minus smallest training loss of the six, minus their mean gain over plain descent."),
    effect("L53-generalises",
        "With decay, Adam's lower training loss is also a lower test loss than that of plain descent.",
        "Avec décroissance, l'erreur plus basse d'Adam se retrouve sur le test, face à la descente simple.",
        measure="test/loss", contrast="largest_difference", conditions=[_decayed(SGD), _decayed(ADAM)], below=-NATS,
        if_diverged=GUESS, slide=VARIANTS_SLIDE, source="beyond", primary=False),
    equivalence("L53-momentum-catches-up",
        "With decay, the test losses of momentum and of Adam are the same.",
        "Avec décroissance, l'inertie et Adam ont la même erreur de test.",
        measure="test/loss", contrast="largest_difference", conditions=[_decayed(MOMENTUM), _decayed(ADAM)],
        within=NATS, if_diverged=GUESS, slide=VARIANTS_SLIDE, source="beyond", primary=False),
]
# fmt: on

experiment = Experiment(
    title="Variants of gradient descent",
    title_fr="Les variantes de la descente de gradient",
    data=("fashion_mnist",),
    grid=[
        axes(**SGD),
        axes(**MOMENTUM),
        axes(**NESTEROV),
        axes(optimizer=[*OTHERS, *FAMILY], lr="tuned"),
        axes(**_decayed(SGD)),
        axes(**_decayed(MOMENTUM)),
        axes(**_decayed(ADAM)),
    ],
    # Four trials each, half a decade apart, around the best of a pilot on other seeds; sgd's are momentum's as well.
    tuning=Tuning(
        "lr",
        by="optimizer",
        candidates={
            "sgd": (0.03, 0.1, 0.3, 1.0),
            "adagrad": (0.01, 0.03, 0.1, 0.3),
            "adadelta": (0.3, 1.0, 3.0, 10.0),
            "rmsprop": (0.001, 0.003, 0.01, 0.03),
            "adam": (0.001, 0.003, 0.01, 0.03),
            "adamax": (0.003, 0.01, 0.03, 0.1),
            "nadam": (0.001, 0.003, 0.01, 0.03),
            "amsgrad": (0.001, 0.003, 0.01, 0.03),
            "adamw": (0.001, 0.003, 0.01, 0.03),
            "radam": (0.003, 0.01, 0.03, 0.1),
        },
    ),
    measures=("final_loss", "decades_to_target"),
    claims=CLAIMS,
    figures=("final_losses", "loss_curves", "learning_rates"),
)
