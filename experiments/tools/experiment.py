"""Tools that keep what they promise, and the mistakes everybody makes once, each with its symptom."""

from experiments.core.definitions import Claim, Experiment, Overrides, axes, census, effect, equivalence, exact, pitfall

LOOP = "Convergence vers une architecture d'apprentissage standard"
SOFTMAX = "Coût Cross-entropique"
TOOLS = "Multiplication des modules et des hyper-paramètres"
# Smallest effects of interest: a loss twice as large, which nobody overlooks; ten points of accuracy that are not there.
FACTOR_TWO = 0.3
TEN_POINTS = 0.1
# log10 of the loss of guessing among ten classes: what a diverged run is worth.
GUESSING = 0.362
# Of a weight around .1 in single precision: rounding is at most 1e-8 of it, one step of Adam is 3e-3.
SAME = 1e-6
ROUNDING = 1e-8
SEVERAL_STEPS = 0.01
EXACT = 1e-12
GALLERY = "gallery"


def _costs(claim_id: str, mistake: Overrides, statement: str, statement_fr: str, note: str, slide: str = "") -> Claim:
    """A mistake that only training shows: with it, the training loss is at least twice as large."""
    return effect(claim_id, statement, statement_fr,
        measure="loss_decades", contrast="largest_difference", conditions=[{}, mistake], above=FACTOR_TWO,
        if_diverged=GUESSING, figure=GALLERY, slide=slide, source="beyond", primary=False, note=note)  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    equivalence("L59-resumed",
        "Interrupted half-way and resumed from weights and optimiser state, training ends with the same weights.",
        "Interrompu à mi-chemin puis repris avec les poids et l'état de l'optimiseur, l'apprentissage finit sur les mêmes poids.",
        measure="weight_norm", contrast="weight_difference", conditions=[{}, {"config": "resumed"}], within=SAME,
        resolution=ROUNDING, figure="resume", slide=TOOLS,
        note="The largest difference of any weight from the uninterrupted run of the same seed; 0 means bit for bit. Adam; all is lost in memory before the file is read."),
    effect("L59-weights-only",
        "Resumed from the weights alone, training ends elsewhere: the optimiser's state is part of where it was.",
        "Repris avec les poids seuls, l'apprentissage finit ailleurs : l'état de l'optimiseur fait partie du point de reprise.",
        measure="weight_norm", contrast="weight_difference", conditions=[{}, {"config": "resumed_weights_only"}],
        above=SEVERAL_STEPS, figure="resume", slide=TOOLS,
        note="The largest difference of any weight. The threshold is what a weight moves in three steps of Adam here. Plain SGD has no state, and nothing to lose."),
    exact("L60-each-once",
        "In every epoch a DataLoader gives each sample exactly once, in a new order; tensors in memory give the same batches.",
        "À chaque époque, un DataLoader donne chaque exemple exactement une fois, dans un ordre nouveau ; des tenseurs en mémoire donnent les mêmes lots.",
        check="data_loader", tolerance=0.0, slide=TOOLS),
    census("L60-reads",
        "The price of a DataLoader: reads of the data in one epoch of 1,200 samples in batches of 64.",
        "Le prix d'un DataLoader : lectures des données en une époque de 1 200 exemples, par lots de 64.",
        measure="calls", check="data_loader", slide=TOOLS,
        note="One Python call a sample; tensors in memory take one a batch, 19. Seconds depend on the machine, and are no verdict."),
    exact("L61-round-trip",
        "What TensorBoard reads back is what was logged, number for number, at the same steps.",
        "Ce que TensorBoard relit est ce qui a été enregistré, nombre pour nombre, aux mêmes itérations.",
        check="logged_scalars", tolerance=0.0, slide="Tensorboard",
        note="In single precision, which is what the file holds: seven digits."),
    _costs("L31-no-reset", {"config": "no_reset"},
        "Without a reset of the gradients between steps, the training loss is at least twice as large.",
        "Sans remise à zéro des gradients entre deux pas, le coût d'apprentissage est au moins deux fois plus grand.",
        slide=LOOP,
        note="The slide's loop has the reset. To recognise it: the norm of the gradient grows from step to step, and the loss goes up and down in waves. Each step is made on the sum of all gradients so far: a momentum that forgets nothing. Adam."),
    pitfall("L54-column-row",
        "Outputs (n, 1) against targets (n,) are compared in all pairs, and the best prediction becomes the mean of the targets.",
        "Des sorties (n, 1) face à des cibles (n,) sont comparées par toutes les paires, et la meilleure prédiction devient la moyenne des cibles.",
        check="column_against_row", tolerance=EXACT, figure=GALLERY, source="beyond",
        note="The slide's .view(-1) prevents it. To recognise it: torch warns once; the loss stops at the variance of the targets, R² at 0, and all predictions are equal."),
    _costs("L34-relu-logits", {"config": "relu_on_logits"},
        "With a ReLU behind the last layer, the training loss is at least twice as large.",
        "Avec un ReLU après la dernière couche, le coût d'apprentissage est au moins deux fois plus grand.",
        slide=SOFTMAX,
        note="To recognise it: some classes are never predicted. A logit below 0 becomes 0 and has no gradient, so a class that is cut off at the start stays so."),
    pitfall("L34-softmax-twice",
        "With a softmax before a cross-entropy that has its own, the loss of ten classes stays above 1.46, however right the network is.",
        "Avec un softmax avant une entropie croisée qui a le sien, le coût de dix classes reste au-dessus de 1,46, si juste que soit le réseau.",
        check="softmax_twice", tolerance=EXACT, figure=GALLERY, slide=SOFTMAX, source="beyond",
        note="log(1 + 9/e) = 1.461. To recognise it: the accuracy rises while the loss stops at that number; training is slow, because the gradient passes through two softmax."),
    _costs("L60-not-shuffled", {"order": "by_class"},
        "With the training samples sorted by class, the training loss is at least twice as large.",
        "Avec des exemples triés par classe, le coût d'apprentissage est au moins deux fois plus grand.",
        slide=TOOLS,
        note="To recognise it: within an epoch the loss falls to 0 on one class and leaps at the next, at the same places in every epoch; the network has always just learnt the last class."),
    pitfall("L70-evaluation-mode",
        "Without evaluation mode, the class predicted for a sample depends on its batch and on chance.",
        "Sans mode évaluation, la classe prédite pour un exemple dépend de son lot et du hasard.",
        check="evaluation_mode", tolerance=EXACT, figure=GALLERY, source="beyond",
        note="The slide's function says train() and never eval(), as it never evaluates. To recognise it: the same sample twice gives two answers; the accuracy depends on the batch size; one sample alone is an error with BatchNorm."),
    effect("L70-leaked-selection",
        "Features chosen with the test labels known classify pure noise ten points better than features chosen without.",
        "Des variables choisies en connaissant les étiquettes de test classent du bruit pur dix points mieux que choisies sans.",
        measure="gain", check="leaked_selection", above=TEN_POINTS, figure=GALLERY, source="beyond", primary=False,
        note="To recognise it: shuffle the labels; what still classifies well has seen the answers. Everything that is fitted, statistics as well, is fitted on the training split (Ambroise & McLachlan 2002)."),
    _costs("L54-learning-rate", {"lr": 0.3},
        "With a learning rate a hundred times as large, the training loss is at least twice as large.",
        "Avec un pas cent fois plus grand, le coût d'apprentissage est au moins deux fois plus grand.",
        note="To recognise it: the loss leaps in the first steps and stays high or becomes nan. Adam, .3 for .003: each weight moves by about the learning rate in each step, whatever the gradient."),
    pitfall("L70-batch-means",
        "The mean of batch means is not the epoch's mean when the last batch is smaller.",
        "La moyenne des moyennes de lots n'est pas celle de l'époque quand le dernier lot est plus petit.",
        check="batch_means", tolerance=EXACT, figure=GALLERY, source="beyond",
        note="To recognise it: the logged loss changes with the batch size although the weights do not. With 65 samples in batches of 64, the last one counts as much as all others."),
    pitfall("L54-list-in-sequential",
        "A network of layers is Sequential(a, b, c); given a list of them it is an error.",
        "Un réseau de couches est Sequential(a, b, c) ; avec une liste de couches, c'est une erreur.",
        check="list_in_sequential", tolerance=EXACT, figure=GALLERY, source="beyond",
        note="On the slide the brackets stand for what is left out. To recognise it: TypeError, a list is not a Module; unpack it with a star."),
    pitfall("L70-log-path",
        "A log directory named by asctime() has spaces and colons, and names that are not in the order of time.",
        "Un dossier de journaux nommé par asctime() contient des espaces et des deux-points, et son nom ne suit pas l'ordre du temps.",
        check="log_path", tolerance=EXACT, figure=GALLERY, source="beyond",
        note="To recognise it: a command that is given the path sees five words; Windows refuses it. Year-month-dayThour-minute-second has neither; two runs within one second still share a name."),
    pitfall("L70-view",
        "Flattening the outputs by .view(-1) fits one output; of several it makes a row that the targets do not fit.",
        "Aplatir les sorties par .view(-1) convient à une sortie ; de plusieurs, il fait une ligne que les cibles n'épousent pas.",
        check="view_of_several_outputs", tolerance=EXACT, figure=GALLERY, source="beyond",
        note="To recognise it: RuntimeError about sizes that do not match. Give outputs and targets one shape instead."),
    effect("L54-control",
        "With a learning rate a hundred times as large, the training loss is half as large.",
        "Avec un pas cent fois plus grand, le coût d'apprentissage est deux fois plus petit.",
        measure="loss_decades", contrast="largest_difference", conditions=[{}, {"lr": 0.3}], below=-FACTOR_TWO,
        if_diverged=GUESSING, figure=GALLERY, control=True),
]
# fmt: on

experiment = Experiment(
    title="Tools and common mistakes",
    title_fr="Outils et erreurs courantes",
    data=("digits",),
    grid=[
        axes(),
        axes(config=["no_reset", "relu_on_logits", "resumed", "resumed_weights_only"]),
        axes(order="by_class"),
        axes(lr=0.3),
    ],
    measures=("loss_decades",),
    # A resumed run is alone, and is compared with the uninterrupted one bit by bit.
    stack=False,
    claims=CLAIMS,
    figures=("gallery", "resume"),
)
