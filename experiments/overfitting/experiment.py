"""With more layers a fully connected network over-fits more: in which measure, and is it the depth that does it?"""

from experiments.core.definitions import Experiment, Overrides, Tuning, axes, effect, equivalence, measured

DEPTHS = (1, 4, 8)
# One hidden layer with as many parameters as eight of 128 units: 142,012 and 142,090.
AS_MANY_PARAMETERS = 686
# Smallest effects of interest: 0.05 nats of cross-entropy a layer (as much again for seven layers more), two points of
# accuracy.
NATS_PER_LAYER = 0.05
NATS = 7 * NATS_PER_LAYER
TWO_POINTS = 0.02
# A diverged network is worth a guess among ten classes, and counts as if training on had cost nothing.
CHANCE = 0.1
NOTHING = 0.0


def _noisy(depth: int, **overrides: int) -> Overrides:
    return {"depth": depth, "lr": "tuned", **overrides}


def _clean(depth: int) -> Overrides:
    return {"config": "true_labels", "depth": depth}


NOISY = [_noisy(depth) for depth in DEPTHS]

# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L28-loss",
        "Under label noise, training on costs more test cross-entropy with every layer more.",
        "Avec des étiquettes bruitées, continuer l'apprentissage coûte plus d'entropie croisée de test à chaque couche de plus.",
        measure="test_loss_excess", contrast="slope_per_layer", conditions=NOISY, above=NATS_PER_LAYER,
        if_diverged=NOTHING, figure="overfitting_by_depth",
        note="Last weights minus the weights that validation found best, on the same test sample, after 450 steps; slope against 1, 4 and 8 hidden layers of 128 units. A fifth of the labels is drawn at random, each depth has its own learning rate: the one with the best validation loss among those that bring the training loss down to 0.5.",
        holds="perhaps at other learning rates: at depths 4 and 8 the tuning is near a tie, and the excess depends on which rate wins it; with true labels and one rate for all depths it is open (L28-loss-clean)"),
    effect("L28-accuracy",
        "Under label noise, training on costs eight layers more test accuracy than one.",
        "Avec des étiquettes bruitées, continuer l'apprentissage coûte plus d'exactitude de test à huit couches qu'à une.",
        measure="test_accuracy_excess", where=_noisy(8), minus={"depth": 1}, below=-TWO_POINTS, if_diverged=NOTHING,
        figure="overfitting_by_depth",
        note="The same networks. Cross-entropy alone could only show that deep networks are surer of themselves.",
        holds="of accuracy, nowhere that was tried; of cross-entropy, perhaps with true labels (L28-loss-clean, open)"),
    effect("L28-equal-training-loss",
        "So it is in cross-entropy when each depth is looked at as soon as its training loss is down to 0.5.",
        "Il en va de même en entropie croisée si chaque profondeur est prise dès que son coût d'apprentissage est de 0,5.",
        measure="val_loss_excess_when_learned", contrast="slope_per_layer", conditions=NOISY, above=NATS_PER_LAYER,
        if_diverged=NOTHING, figure="curves_by_depth", source="beyond",
        note="Deep networks learn their samples in fewer steps; here they are compared at equal fit. On 2,000 validation images, whose smallest loss is that of the best epoch on the same images.",
        holds="perhaps after equally many steps, with true labels (L28-loss-clean, open)"),
    effect("L28-equal-parameters",
        "With as many parameters in one wide layer, training on costs less test cross-entropy than with eight layers.",
        "Avec autant de paramètres dans une seule couche large, continuer coûte moins d'entropie croisée de test qu'avec huit couches.",
        measure="test_loss_excess", where=_noisy(8), minus={"depth": 1, "width": AS_MANY_PARAMETERS}, above=NATS,
        if_diverged=NOTHING, figure="width_control",
        note="Eight layers of 128 units against one of 686: 142,090 and 142,012 parameters."),
    effect("L28-control",
        "Stopped where validation is best, eight layers classify better than one by two points.",
        "Arrêtées au meilleur point de validation, huit couches classent mieux qu'une, de deux points.",
        measure="test/accuracy", where=_noisy(8), minus={"depth": 1}, above=TWO_POINTS, if_diverged=CHANCE,
        figure="overfitting_by_depth", control=True,
        note="Expected to be refuted: it shows that this experiment can refute. On 1,000 images more layers have nothing to gain."),
    equivalence("L28-early-stopped",
        "Stopped where validation is best, eight layers classify as well as one, within two points.",
        "Arrêtées au meilleur point de validation, huit couches classent aussi bien qu'une, à deux points près.",
        measure="test/accuracy", where=_noisy(8), minus={"depth": 1}, within=TWO_POINTS, if_diverged=CHANCE,
        figure="overfitting_by_depth", source="beyond", primary=False),
    effect("L28-loss-clean",
        "With true labels too, training on costs more test cross-entropy with every layer more.",
        "Avec les vraies étiquettes aussi, continuer coûte plus d'entropie croisée de test à chaque couche de plus.",
        measure="test_loss_excess", contrast="slope_per_layer", conditions=[_clean(depth) for depth in DEPTHS],
        above=NATS_PER_LAYER, if_diverged=NOTHING, figure="overfitting_by_depth", primary=False,
        note="Learning rate 0.001 at every depth, 300 steps."),
    effect("L28-accuracy-clean",
        "With true labels, training on costs eight layers more test accuracy than one.",
        "Avec les vraies étiquettes, continuer coûte plus d'exactitude de test à huit couches qu'à une.",
        measure="test_accuracy_excess", where=_clean(8), minus={"depth": 1}, below=-TWO_POINTS, if_diverged=NOTHING,
        figure="overfitting_by_depth", primary=False, note="Learning rate 0.001 at every depth, 300 steps.",
        holds="of cross-entropy, perhaps (L28-loss-clean, open)"),
    effect("L28-random-labels",
        "Four layers learn labels by heart that are drawn at random.",
        "Quatre couches apprennent par cœur des étiquettes tirées au hasard.",
        measure="train/accuracy", where={"depth": 4, "label_noise": 1.0}, above=0.9, if_diverged=CHANCE,
        figure="random_labels", source="beyond", primary=False,
        note="Nothing can be generalised there: capacity alone does not explain over-fitting (Zhang et al. 2017). Training accuracy of the last epoch."),
    equivalence("L28-random-test",
        "Of labels drawn at random nothing is of use on test images: accuracy is that of a guess, within three points.",
        "Des étiquettes tirées au hasard ne servent à rien sur les images de test : l'exactitude est celle du hasard, à trois points près.",
        measure="test_accuracy_over_chance", where={"depth": 4, "label_noise": 1.0}, within=0.03, if_diverged=NOTHING,
        figure="random_labels", source="beyond", primary=False),
    measured("L28-random-epochs",
        "Labels drawn at random take more epochs to learn by heart than true ones.",
        "Des étiquettes tirées au hasard prennent plus d'époques à apprendre par cœur que les vraies.",
        measure="by_heart_epoch", contrast="random_minus_true",
        conditions=[{"depth": 4, "label_noise": 1.0}, _clean(4)], figure="random_labels", source="beyond",
        note="Difference in epochs of 1,000 samples to a training accuracy of 95 %."),
]
# fmt: on

experiment = Experiment(
    title="Depth and over-fitting",
    title_fr="Profondeur et sur-apprentissage",
    data=("fashion_mnist",),
    grid=[
        # A fifth of the labels drawn at random, each depth with its own learning rate.
        axes(depth=DEPTHS, lr="tuned"),
        axes(width=AS_MANY_PARAMETERS, lr="tuned"),
        # True labels, and labels all drawn at random, with the lecture's own learning rate.
        axes(config="true_labels", depth=DEPTHS),
        axes(depth=4, label_noise=1.0),
    ],
    scale_grid={"full": [axes(depth=16, lr="tuned"), axes(config="true_labels", depth=16)]},
    # The same trials for every network, a factor of about three apart; a pilot on other seeds placed them. A rate too small
    # to learn the training samples in these steps would not over-fit whatever the depth.
    tuning=Tuning("lr", candidates={"": (0.0003, 0.001, 0.003, 0.009)}, minimize="best_val_loss_if_learned"),
    measures=(
        "test_loss_excess",
        "test_accuracy_excess",
        "val_loss_excess_when_learned",
        "best_val_loss",
        "best_epoch",
        "learned_epoch",
        "by_heart_epoch",
        "test_accuracy_over_chance",
    ),
    claims=CLAIMS,
    figures=("curves_by_depth", "overfitting_by_depth", "width_control", "random_labels"),
)
