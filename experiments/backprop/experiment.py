"""The gradient by hand: every formula of the slides against derivatives taken in another way."""

from experiments.core.definitions import Experiment, effect, exact, measured, pitfall, transcription

CHAIN_RULE = "Calcul du gradient: chain rule"
MODULES = "Type usuel de modules"
ZOOM = "Zoom sur le module k: forward / backward"
TOPOLOGY = "Topologie de l'espace de recherche & gradient"
# Of single formulas in double precision, whose unit is 2e-16: a few thousand roundings.
EXACT = 1e-12
# Of a chain of up to twenty layers with normalisations, where the errors of all layers add up.
DEEP = 1e-10
# What a central difference with a step of 1e-5 can tell: h² is 1e-10, times a third derivative of up to hundreds.
DIFFERENCE = 1e-7
# The same with a step of 1e-6 along a whole gradient: rounding, 2e-16 / 1e-6, times the size of the loss.
SLOPE = 1e-7
# One per cent, in decades: an error that a comparison with finite differences shows at once.
ONE_PER_CENT = -2.0
TO_CHECK = "Of the transcription; to be checked against the slide."


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    exact("L14-forward",
        "Inference is one pass forward, unit by unit: aⱼ = w₀ⱼ + Σᵢ wᵢⱼ zᵢ, then zⱼ = g(aⱼ).",
        "L'inférence est une passe avant, unité par unité : aⱼ = w₀ⱼ + Σᵢ wᵢⱼ zᵢ, puis zⱼ = g(aⱼ).",
        check="forward_pass", tolerance=EXACT, figure="formula_errors",
        note="In this lecture the activation is what goes into g, and the output is what comes out; many texts call the output activation. Truth: torch's Linear and activation layers."),
    exact("L17-last-layer",
        "The gradient of a weight of the last layer is 2 g′(a₃)(ŷ − y) zᵢ.",
        "Le gradient d'un poids de la dernière couche est 2 g′(a₃)(ŷ − y) zᵢ.",
        check="last_layer", tolerance=EXACT, figure="formula_errors", slide=CHAIN_RULE,
        note="Truth: autograd. Sigmoid and tanh, biases included (z₀ = 1)."),
    transcription("L17-index",
        "In the last layer's a₃, z₂ comes with w₂₁, not with w₁₂: that would leave w₂₁ without a gradient.",
        "Dans a₃, z₂ est multiplié par w₂₁ et non par w₁₂ : w₂₁ n'aurait sinon pas de gradient.",
        check="last_layer_transcription", tolerance=EXACT, figure="formula_errors", slide=CHAIN_RULE,
        note=f"{TO_CHECK} A weight w₁₂ of the second layer leads to a second output, so the check has two."),
    exact("L17-finite-differences",
        "Moving each weight a little changes the loss as both layers' formulas say.",
        "Déplacer un peu chaque poids change le coût comme le disent les formules des deux couches.",
        check="finite_differences", tolerance=DIFFERENCE, figure="finite_differences", slide=CHAIN_RULE,
        note="Central differences with a step of 1e-5: no derivative is used, so nothing can be wrong in the same way."),
    exact("L18-first-layer",
        "The gradient of a weight of the first layer is ∂L/∂a₃ g′(aⱼ) wⱼ₁ xᵢ.",
        "Le gradient d'un poids de la première couche est ∂L/∂a₃ g′(aⱼ) wⱼ₁ xᵢ.",
        check="first_layer", tolerance=EXACT, figure="formula_errors", slide=CHAIN_RULE,
        note="Truth: autograd. The error at the output reaches the unit through its connection, and through g."),
    transcription("L18-result",
        "The result for the first layer keeps g′(aⱼ) wⱼ₁: ∂L/∂a₃ xᵢ alone is another gradient.",
        "Le résultat pour la première couche garde g′(aⱼ) wⱼ₁ : ∂L/∂a₃ xᵢ seul est un autre gradient.",
        check="first_layer_transcription", tolerance=EXACT, figure="formula_errors", slide=CHAIN_RULE,
        note=f"{TO_CHECK} The line above it has the factor."),
    transcription("L19-general-case",
        "Between hidden layers, the derivative of g is taken at the unit that receives the error: g′(aⱼ), not g′(aₖ).",
        "Entre couches cachées, la dérivée de g est prise à l'unité qui reçoit l'erreur : g′(aⱼ), et non g′(aₖ).",
        check="general_case", tolerance=EXACT, figure="formula_errors",
        note=f"{TO_CHECK} ∂aₖ/∂aⱼ = g′(aⱼ) wⱼₖ, because aₖ = Σⱼ wⱼₖ g(aⱼ)."),
    measured("L19-size",
        "How wrong the gradient is with g′(aₖ): median error with tanh, relative to the gradient.",
        "L'erreur du gradient avec g′(aₖ) : erreur médiane avec tanh, relative au gradient.",
        measure="median/tanh", check="general_case", figure="formula_errors",
        note="With the sigmoid it is smaller, because σ′ varies less: see median/sigmoid in results.csv."),
    effect("L19-control",
        "With g′(aₖ) in the place of g′(aⱼ), the gradient is still right within one per cent.",
        "Avec g′(aₖ) à la place de g′(aⱼ), le gradient reste juste à un pour cent près.",
        measure="decades", check="general_case", below=ONE_PER_CENT, figure="formula_errors", control=True,
        note="Expected to be refuted: it shows that this experiment can refute. log₁₀ of the median error."),
    exact("L20-recursion",
        "Down twenty layers, δⱼ = ∂L/∂aⱼ sums what arrives from every unit above, and the gradient is zᵢ δⱼ.",
        "À travers vingt couches, δⱼ = ∂L/∂aⱼ est la somme de ce qui arrive de chaque unité, et le gradient est zᵢ δⱼ.",
        check="delta_recursion", tolerance=DEEP, figure="formula_errors",
        note="Here δ is ∂L/∂a; on the slides about modules it is ∂L/∂z. Truth: autograd, for each layer of 20 random networks of 1 to 20 layers. Error relative to the layer's largest value, however small that is."),
    transcription("L20-index",
        "δⱼ is the derivative with respect to aⱼ; with respect to aᵢ, of the layer below, it is another number.",
        "δⱼ est la dérivée par rapport à aⱼ ; par rapport à aᵢ, de la couche en dessous, c'est un autre nombre.",
        check="delta_index", tolerance=EXACT, figure="formula_errors", note=TO_CHECK),
    exact("L21-modules",
        "Each usual module gives z forward and δ backward as torch's does, and an activation has nothing to learn.",
        "Chaque module usuel donne z à l'aller et δ au retour comme celui de torch, et une activation n'apprend rien.",
        check="modules", tolerance=EXACT, figure="formula_errors", slide=MODULES,
        note="Linear, sigmoid, tanh, ReLU. The slide's W is torch's weight transposed: z = Wᵗz."),
    exact("L22-stored",
        "What forward keeps for backward grows by the same amount with every layer: batch × width numbers.",
        "Ce que l'aller garde pour le retour croît d'autant à chaque couche : lot × largeur nombres.",
        check="stored_activations", tolerance=0.0, figure="stored_activations", slide="Architecture modulaire",
        note="Bytes, each shared tensor once: batch · (inputs + depth · width + outputs) · 4, by hand and, with the targets, by autograd. Parameters are kept too, but not because of the batch."),
    exact("L23-mse-delta",
        "Under the mean squared error, δ of the output is 2/N (z − y) with N = batch × outputs.",
        "Sous l'erreur quadratique moyenne, δ en sortie est 2/N (z − y) avec N = lot × sorties.",
        check="mse_delta", tolerance=EXACT, figure="formula_errors", slide=ZOOM,
        note="The slide does not say what N counts. Truth: autograd through torch's MSELoss."),
    pitfall("L23-other-n",
        "With N = batch alone, the gradient is too large by the number of outputs; with N = outputs, by the batch.",
        "Avec N = lot seulement, le gradient est trop grand d'un facteur égal au nombre de sorties ; avec N = sorties, au lot.",
        check="mse_delta", tolerance=EXACT, figure="formula_errors", slide=ZOOM, source="beyond",
        note="Symptom: training works, but the best learning rate changes with the number of outputs. To recognise it: compare one step with torch's."),
    exact("L24-linear-module",
        "Of a linear module, the gradient is δₙ zⱼ for wⱼₙ, and the error passed on is Σₙ δₙ wⱼₙ.",
        "Pour un module linéaire, le gradient de wⱼₙ est δₙ zⱼ, et l'erreur transmise est Σₙ δₙ wⱼₙ.",
        check="linear_module", tolerance=EXACT, figure="formula_errors", slide=ZOOM,
        note="Summed over the batch. Truth: autograd."),
    transcription("L24-index",
        "The gradient of wⱼₙ goes with zⱼ; written for wᵢₙ, it belongs to the weight of another unit.",
        "Le gradient de wⱼₙ va avec zⱼ ; écrit pour wᵢₙ, c'est celui du poids d'une autre unité.",
        check="linear_module", tolerance=EXACT, figure="formula_errors", slide=ZOOM, note=TO_CHECK),
    exact("L31-autograd",
        "Backward is automatic: autograd gives each parameter the gradient that the modules give by hand.",
        "Le retour est automatique : autograd donne à chaque paramètre le gradient que les modules calculent à la main.",
        check="autograd", tolerance=DEEP, figure="formula_errors", slide="Un réseau de neurones est un module",
        note="Networks of 1, 2, 5 and 20 linear layers; squared error, cross-entropy, binary cross-entropy; without normalisation, with BatchNorm and with LayerNorm."),
    exact("L42-clipping",
        "Clipping bounds the norm of the gradient and keeps its direction; a gradient that is short enough is left alone.",
        "L'écrêtage borne la norme du gradient et garde sa direction ; un gradient assez court reste inchangé.",
        check="clipping", tolerance=EXACT, figure="formula_errors", slide="Lutter contre le sur-apprentissage",
        note="The norm of all parameters together. What clipping is good for is the matter of the experiment `clipping`."),
    exact("L48-batchnorm",
        "BatchNorm centres and scales each unit over the mini-batch: its formula is torch's, forward and backward.",
        "BatchNorm centre et réduit chaque unité sur le mini-lot : sa formule est celle de torch, à l'aller et au retour.",
        check="batch_norm", tolerance=EXACT, figure="formula_errors", slide=TOPOLOGY,
        note="Variance divided by the batch, not by batch − 1; 1e-5 is added to it. In training mode."),
    exact("L48-layernorm",
        "LayerNorm centres and scales each sample over its units: its formula is torch's, forward and backward.",
        "LayerNorm centre et réduit chaque exemple sur ses unités : sa formule est celle de torch, à l'aller et au retour.",
        check="layer_norm", tolerance=EXACT, figure="formula_errors", slide=TOPOLOGY,
        note="Variance divided by the number of units; 1e-5 is added to it."),
    exact("L69-one-loop",
        "The same lines, outputs, loss, reset, backward, give every system of the lecture the slope of its loss.",
        "Les mêmes lignes, sorties, coût, remise à zéro, retour, donnent à chaque système du cours la pente de son coût.",
        check="one_loop", tolerance=SLOPE, figure="formula_errors",
        slide="Convergence vers une architecture d'apprentissage standard",
        note="Perceptron, linear, two-layer, fully connected, modular, convolutional, recurrent, noise as parameter; numbers, classes and several labels. Truth: central difference of the loss along the gradient. That they also learn, by one command, is the matter of the experiment `architectures`."),
]
# fmt: on

experiment = Experiment(
    title="Back-propagation",
    title_fr="La rétro-propagation",
    claims=CLAIMS,
    figures=("formula_errors", "finite_differences", "stored_activations"),
)
