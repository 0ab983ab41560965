"""Gradient descent ends where theory says, and only with a step below 2/λmax."""

from experiments.core.definitions import Experiment, axes, effect, equivalence, exact

# The threshold is theory without approximation: a hundredth leaves room for the finite number of steps only.
ONE_PERCENT = 0.01
# A factor of ten of the loss, down or up.
TENFOLD = 1.0
# Of weights near 1, in single precision, over forty steps.
ROUNDING = 1e-3
# What a bisection from 0.001 to 10 times the threshold leaves open after 18 halvings.
BISECTION = 4e-5
# Seeds that give 300 draws where one gives 100.
EXACT_SEEDS = 3

# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    equivalence("L16-threshold",
        "The largest step with which gradient descent converges is 2/λmax, two over the largest curvature.",
        "Le plus grand pas avec lequel la descente de gradient converge est 2/λmax, deux sur la plus grande courbure.",
        measure="relative_difference", check="step_threshold", within=ONE_PERCENT, resolution=BISECTION,
        figure="loss_against_step", source="beyond",
        note="Linear regression on the diabetes table: the step found by trying, over 2/λmax, minus 1. The slide has a step ε and does not say how large it may be."),
    effect("L16-inside",
        "With a step of nine tenths of 2/λmax, gradient descent brings the loss down at least tenfold.",
        "Avec un pas de neuf dixièmes de 2/λmax, la descente de gradient divise le coût au moins par dix.",
        measure="decades_inside", check="step_threshold", below=-TENFOLD, figure="loss_against_step",
        note="log10 of what the loss has above its minimum, after 2,000 steps over before."),
    effect("L16-outside",
        "With a step a tenth larger than 2/λmax, the same descent makes the loss grow at least tenfold.",
        "Avec un pas d'un dixième plus grand que 2/λmax, la même descente multiplie le coût au moins par dix.",
        measure="decades_outside", check="step_threshold", above=TENFOLD, figure="loss_against_step", source="beyond",
        note="log10 of what the loss has above its minimum, after 100 steps over before."),
    effect("L16-control",
        "With a step a tenth larger than 2/λmax, gradient descent still brings the loss down tenfold.",
        "Avec un pas d'un dixième plus grand que 2/λmax, la descente de gradient divise encore le coût par dix.",
        measure="decades_outside", check="step_threshold", below=-TENFOLD, figure="loss_against_step", control=True),
    exact("L51-closed-form",
        "On a least-squares problem the iterates of gradient descent are those of a closed form, at every step.",
        "Sur un problème de moindres carrés, les itérés de la descente de gradient sont, à chaque pas, ceux d'une forme close.",
        check="closed_form", tolerance=1e-10, n=EXACT_SEEDS,
        note="w* + (I − εH)ᵗ (w0 − w*); gradients by autograd, random points, starts and steps, in double precision."),
    equivalence("L51-run",
        "A line that is trained follows, step by step, the path in parameter space that the closed form draws.",
        "Une droite qu'on entraîne suit, pas à pas, le chemin que trace la forme close dans l'espace des paramètres.",
        measure="closed_form_error", where={}, within=ROUNDING, figure="descent",
        note="Largest difference of slope or intercept over forty steps of a run, in single precision."),
]
# fmt: on

experiment = Experiment(
    title="Gradient descent",
    title_fr="La descente de gradient",
    # The film shows one run of each optimiser.
    seeds=3,
    grid=[
        axes(),
        axes(momentum=0.9, nesterov=[False, True], lr=0.05),
        axes(optimizer="adagrad", lr=1.0),
        axes(optimizer="adadelta", lr=60.0),
        axes(optimizer="rmsprop", lr=0.1),
        axes(optimizer=["adam", "adamax", "nadam", "radam"], lr=0.2),
    ],
    measures=("closed_form_error", "excess_loss"),
    claims=CLAIMS,
    figures=("descent", "optimizers", "loss_against_step"),
)
