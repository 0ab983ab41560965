"""Least squares is the right cost for Gaussian noise, and one linear layer finds it, if its inputs have one scale."""

from experiments.core.definitions import Experiment, axes, effect, equivalence, exact, proportion

# Smallest effects of interest. Variances are compared by their doublings: a quarter more variance, log2 1.25, costs a
# quarter more samples for the same precision. Two hundredths of R² are what a reader of a table would notice; a network
# is worth its trouble if it explains a twentieth more of the variance.
A_QUARTER_MORE = 0.32
POINTS = 0.02
A_TWENTIETH = 0.05
A_TENTH = 0.1
# An outcome that "most" runs share is one of more than half of them.
MOST = 0.5
# A share needs as many; whatever else is asked of the same runs has them as well.
SEEDS = 30

SCALED = {"standardize": True}
RAW = {"standardize": False}

# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    exact("L15-likelihood",
        "Minimising the squared error maximises the likelihood under Gaussian noise; the absolute error does so under Laplace's.",
        "Minimiser l'erreur quadratique, c'est maximiser la vraisemblance d'un bruit gaussien ; l'erreur absolue, celle d'un bruit de Laplace.",
        check="least_squares_is_likelihood", tolerance=1e-12,
        note="Slopes in the prediction, so that minima agree as well."),
    effect("L15-gaussian",
        "Least squares is a good choice: under Gaussian noise its estimate, the mean, varies less than the median.",
        "Les moindres carrés sont un bon choix : sous un bruit gaussien, leur estimation, la moyenne, varie moins que la médiane.",
        measure="gaussian/doublings", check="mean_against_median", below=-A_QUARTER_MORE, figure="efficiency",
        note="log2 of the variance of the mean over that of the median of 201 samples. The median is what the absolute error estimates."),
    equivalence("L15-gaussian-theory",
        "Under Gaussian noise the mean needs 2/π of the samples that the median needs.",
        "Sous un bruit gaussien, il faut à la moyenne 2/π des exemples qu'il faut à la médiane.",
        measure="gaussian/theory_error", check="mean_against_median", within=0.05, figure="efficiency",
        source="beyond", primary=False,
        note="Ratio of variances at 201 samples over its limit 2/π, minus 1."),
    effect("L15-laplace",
        "It is a choice for that noise: under Laplace's, the mean varies more than the median.",
        "C'est un choix pour ce bruit-là : sous celui de Laplace, la moyenne varie plus que la médiane.",
        measure="laplace/doublings", check="mean_against_median", above=A_QUARTER_MORE, figure="efficiency",
        source="beyond",
        note="The slide asks why least squares is good and leaves the answer open."),
    effect("L15-heavy-tails",
        "Under noise with heavy tails, the mean varies far more than the median.",
        "Sous un bruit à queues lourdes, la moyenne varie beaucoup plus que la médiane.",
        measure="student/doublings", check="mean_against_median", above=1.0, figure="efficiency", source="beyond",
        primary=False,
        note="Student's law with 2 degrees of freedom: the variance is infinite, so the ratio seen in 4,000 means would grow with their number. Threshold: twice the variance."),
    equivalence("L29-reaches-ols",
        "One linear layer trained by gradient on the squared error predicts as well as least squares in closed form.",
        "Une couche linéaire apprise par gradient sur l'erreur quadratique prédit aussi bien que les moindres carrés en forme close.",
        measure="test_r2_minus_ols", where={}, within=POINTS, n=SEEDS, figure="scores",
        note="R² on the test sample after 150 full-batch steps on standardised features, with momentum .9; the slide names no housing data set, so the bundled diabetes stand in."),
    proportion("L29-raw-features",
        "The same steps on features in their own units diverge, where those on standardised features do not.",
        "Les mêmes pas sur des variables dans leurs unités divergent, alors que sur des variables standardisées non.",
        measure="diverged", where=RAW, minus=SCALED, above=MOST, n=SEEDS, if_diverged=1.0, figure="loss_by_step",
        source="beyond",
        note="Share of seeds that diverge, raw minus standardised. The slide's snippet does not say in which units its features are."),
    effect("L29-small-rate",
        "A learning rate small enough for raw features leaves them far behind standardised ones.",
        "Un pas assez petit pour des variables brutes les laisse loin derrière les variables standardisées.",
        measure="final_test/r2", where={**RAW, "lr": 1e-5}, minus={**SCALED, "lr": 0.05}, below=-A_TENTH,
        figure="scores", source="beyond", primary=False,
        note="Equal steps. Standardising is what helps; a smaller rate only stops the divergence."),
    effect("L29-control",
        "After the same steps one linear layer is still a tenth of R² behind least squares.",
        "Après les mêmes pas, une couche linéaire est encore un dixième de R² derrière les moindres carrés.",
        measure="test_r2_minus_ols", where={}, below=-A_TENTH, n=SEEDS, figure="scores", control=True),
    exact("L30-as-on-the-slide",
        "The two-layer network here computes what the slide's module computes.",
        "Le réseau à deux couches d'ici calcule ce que calcule le module de la diapositive.",
        check="two_layer_network", tolerance=1e-12),
    effect("L30-better",
        "Five units of tanh predict better than one linear layer.",
        "Cinq unités tanh prédisent mieux qu'une couche linéaire.",
        measure="test/r2", where={}, minus={"config": "two_layer"}, below=-A_TWENTIETH, figure="scores",
        source="beyond", primary=False,
        note="R² of the linear layer minus that of the network, both with the weights that validation chose among 150 steps. The slide shows how the module is written, not that it predicts better.",
        holds="on the training sample (L30-fits-better)"),
    effect("L30-fits-better",
        "Five units of tanh fit the training sample better than one linear layer.",
        "Cinq unités tanh ajustent mieux l'échantillon d'apprentissage qu'une couche linéaire.",
        measure="train/r2", where={}, minus={"config": "two_layer"}, below=-A_TWENTIETH, figure="scores",
        source="beyond", primary=False,
        note="At the last step. Together with the line above: what the units add is the training sample's own."),
]
# fmt: on

experiment = Experiment(
    title="Regression and least squares",
    title_fr="Régression et moindres carrés",
    data=("diabetes",),
    grid=[
        axes(),
        axes(standardize=False),
        # As large as is stable: the largest eigenvalue of the raw features' second moments is about 7e4.
        axes(standardize=False, lr=1e-5),
        axes(config="two_layer"),
    ],
    measures=("test_ols_r2",),
    claims=CLAIMS,
    figures=["efficiency", "scores", "loss_by_step"],
)
