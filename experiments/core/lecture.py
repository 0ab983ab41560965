"""The lecture, line by line: what each slide says, in our words. Standard library only.

A claim belongs to a line by its id: `L44-sigmoid-decay` is about line L44.
"""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """One thing that the lecture says, shows or uses."""

    id: str
    slide: str
    says: str
    says_fr: str


LINES: tuple[Line, ...] = (
    Line(
        "L01",
        "Inspiration biologique",
        "Networks are inspired, from near or far, by biology.",
        "Les réseaux s'inspirent, de près ou de loin, de la biologie.",
    ),
    Line(
        "L02",
        "Le perceptron",
        "The perceptron is an affine function followed by a sign.",
        "Le perceptron est une fonction affine suivie d'un signe.",
    ),
    Line(
        "L03",
        "Le perceptron",
        "Its weights optimise the expected cost max(0, −y f(x)).",
        "Ses poids optimisent le coût moyen max(0, −y f(x)).",
    ),
    Line(
        "L04",
        "Algorithme du perceptron",
        "Its algorithm runs until it has converged.",
        "Son algorithme tourne jusqu'à convergence.",
    ),
    Line(
        "L05",
        "Algorithme du perceptron",
        "It corrects the weights where y f(x) is negative.",
        "Il corrige les poids là où y f(x) est négatif.",
    ),
    Line(
        "L06",
        "Algorithme du perceptron",
        "Its correction is a gradient step on the cost.",
        "Sa correction est un pas de gradient sur le coût.",
    ),
    Line(
        "L07",
        "Limites du perceptron",
        "It cannot separate data such as XOR.",
        "Il ne peut pas séparer des données comme XOR.",
    ),
    Line(
        "L08",
        "Combinons deux neurones",
        "Linear neurons in layers are one linear neuron.",
        "Des neurones linéaires en couches n'en font qu'un.",
    ),
    Line(
        "L09",
        "Combinons deux neurones",
        "Multiplied out, two layers are one affine function.",
        "En développant, deux couches sont une fonction affine.",
    ),
    Line(
        "L10",
        "Non-linéarité",
        "A non-linearity is needed.",
        "Il faut une non-linéarité.",
    ),
    Line(
        "L11",
        "Combinons deux neurones",
        "The picture has two hidden neurons.",
        "L'image montre deux neurones cachés.",
    ),
    Line(
        "L12",
        "Non-linéarité",
        "The derivative of the sign is a problem.",
        "La dérivée du signe pose problème.",
    ),
    Line(
        "L13",
        "Non-linéarité",
        "Neurons have a bias beside tanh or sigmoid.",
        "Les neurones ont un biais, en plus de tanh ou sigmoïde.",
    ),
    Line(
        "L14",
        "Vocabulaire de l'inférence",
        "Forward pass, activation a, output z.",
        "Passe avant, activation a, sortie z.",
    ),
    Line(
        "L15",
        "Apprentissage",
        "Least squares are a good choice of cost.",
        "Les moindres carrés sont un bon choix de coût.",
    ),
    Line(
        "L16",
        "Descente de gradient",
        "Weights follow the negative gradient by a small step.",
        "Les poids suivent l'opposé du gradient, à petits pas.",
    ),
    Line(
        "L17",
        "Calcul du gradient : chain rule",
        "Gradient of the last layer's weights.",
        "Gradient des poids de la dernière couche.",
    ),
    Line(
        "L18",
        "Calcul du gradient : chain rule",
        "Gradient of the first layer's weights.",
        "Gradient des poids de la première couche.",
    ),
    Line(
        "L19",
        "Cas général dans les couches intermédiaires",
        "Gradient of any layer between.",
        "Gradient d'une couche intermédiaire.",
    ),
    Line(
        "L20",
        "Cas général dans les couches intermédiaires",
        "Errors that arrive from several units are summed.",
        "Les erreurs qui arrivent de plusieurs unités se somment.",
    ),
    Line(
        "L21",
        "Réseau : assemblage de modules",
        "A network is modules with inputs, outputs and perhaps parameters.",
        "Un réseau est fait de modules : entrées, sorties, parfois paramètres.",
    ),
    Line(
        "L22",
        "Apprentissage du réseau",
        "The forward pass stores every output z.",
        "La passe avant garde chaque sortie z.",
    ),
    Line(
        "L23",
        "Zoom sur le module k",
        "The last delta of the squared error is 2/N (z − y).",
        "Le dernier delta de l'erreur quadratique est 2/N (z − y).",
    ),
    Line(
        "L24",
        "Zoom sur le module k",
        "Each module passes its delta to the one before.",
        "Chaque module transmet son delta au précédent.",
    ),
    Line(
        "L25",
        "Réseau Fully-Connected",
        "Ideal for simple classification tasks.",
        "Idéal pour les tâches de classification simples.",
    ),
    Line(
        "L26",
        "Réseau Fully-Connected",
        "Found in almost all other architectures.",
        "Présent dans presque toutes les autres architectures.",
    ),
    Line(
        "L27",
        "Réseau Fully-Connected",
        "Not suited to complex inputs: text, image.",
        "Inadapté aux entrées complexes : texte, image.",
    ),
    Line(
        "L28",
        "Réseau Fully-Connected",
        "Over-fits more with more layers.",
        "Sur-apprend davantage avec plus de couches.",
    ),
    Line(
        "L29",
        "Réseau à une couche linéaire",
        "One linear layer on housing prices, with SGD and MSE.",
        "Une couche linéaire sur les prix des logements, avec SGD et MSE.",
    ),
    Line(
        "L30",
        "Réseau à deux couches",
        "Two layers with tanh on the same data.",
        "Deux couches avec tanh sur les mêmes données.",
    ),
    Line(
        "L31",
        "Réseau à deux couches",
        "The backward pass is automatic.",
        "La passe arrière est automatique.",
    ),
    Line(
        "L32",
        "Supervision multi-classes",
        "Squared error on one-hot targets is a problematic cost.",
        "L'erreur quadratique sur des cibles 1-hot est un coût problématique.",
    ),
    Line(
        "L33",
        "SoftMax",
        "Softmax gives a distribution and strengthens the maximum.",
        "Softmax donne une distribution et renforce le maximum.",
    ),
    Line(
        "L34",
        "Entropie croisée",
        "Cross-entropy and its gradient, softmax minus target.",
        "L'entropie croisée et son gradient, softmax moins cible.",
    ),
    Line(
        "L35",
        "Multi-label",
        "Several labels: independent Bernoulli variables, binary cross-entropy.",
        "Plusieurs étiquettes : Bernoulli indépendantes, entropie croisée binaire.",
    ),
    Line(
        "L36",
        "Multi-label",
        "The formula of binary cross-entropy.",
        "La formule de l'entropie croisée binaire.",
    ),
    Line(
        "L37",
        "Régularisation",
        "All these techniques regularise the network.",
        "Toutes ces techniques régularisent le réseau.",
    ),
    Line(
        "L38",
        "L1, L2",
        "Penalties on the weights.",
        "Pénalités sur les poids.",
    ),
    Line(
        "L39",
        "Dropout",
        "Removing units in training makes the network robust.",
        "Retirer des unités à l'apprentissage rend le réseau robuste.",
    ),
    Line(
        "L40",
        "Augmented Data",
        "More data, made from the data, generalise better.",
        "Plus de données, tirées des données, généralisent mieux.",
    ),
    Line(
        "L41",
        "Augmented Data",
        "AutoAugment's policies, available in torchvision.",
        "Les politiques d'AutoAugment, disponibles dans torchvision.",
    ),
    Line(
        "L42",
        "Gradient Clipping",
        "The norm of the gradient is bounded.",
        "La norme du gradient est bornée.",
    ),
    Line(
        "L43",
        "Gradient Clipping",
        "It avoids instability.",
        "Il évite l'instabilité.",
    ),
    Line(
        "L44",
        "Gradient vanishing",
        "The gradient vanishes in layers far from the supervision.",
        "Le gradient disparaît dans les couches loin de la supervision.",
    ),
    Line(
        "L45",
        "Gradient vanishing",
        "It vanishes in saturated sigmoids.",
        "Il disparaît dans les sigmoïdes saturées.",
    ),
    Line(
        "L46",
        "Gradient vanishing",
        "The sigmoid, its symmetry and its derivative.",
        "La sigmoïde, sa symétrie et sa dérivée.",
    ),
    Line(
        "L47",
        "Amélioration du gradient",
        "ReLU keeps a strong gradient.",
        "ReLU garde un gradient fort.",
    ),
    Line(
        "L48",
        "Amélioration du gradient",
        "The formulas of BatchNorm and LayerNorm.",
        "Les formules de BatchNorm et de LayerNorm.",
    ),
    Line(
        "L49",
        "Amélioration du gradient",
        "BatchNorm improves the search space and the gradient.",
        "BatchNorm améliore l'espace de recherche et le gradient.",
    ),
    Line(
        "L50",
        "Amélioration du gradient",
        "So does LayerNorm.",
        "LayerNorm aussi.",
    ),
    Line(
        "L51",
        "Apprendre par descente de gradient",
        "Descent seen in the space of descriptions and in that of parameters.",
        "La descente vue dans l'espace de description et dans celui des paramètres.",
    ),
    Line(
        "L52",
        "Stochastique, mini-batch, batch",
        "The number of iterations is not the cost.",
        "Le nombre d'itérations n'est pas le coût.",
    ),
    Line(
        "L53",
        "Variantes du gradient",
        "Many variants of the gradient are very effective.",
        "De nombreuses variantes du gradient sont très efficaces.",
    ),
    Line(
        "L54",
        "Fonction standard d'apprentissage",
        "A standard training function, ready to run.",
        "Une fonction standard d'apprentissage, prête à tourner.",
    ),
    Line(
        "L55",
        "OneCycleLR",
        "A cycle of the learning rate accelerates.",
        "Un cycle du pas d'apprentissage accélère.",
    ),
    Line(
        "L56",
        "OneCycleLR",
        "The same for the weights of a network.",
        "De même pour les poids d'un réseau.",
    ),
    Line(
        "L57",
        "OneCycleLR",
        "The largest rate of the example is 0.5.",
        "Le pas maximal de l'exemple est 0,5.",
    ),
    Line(
        "L58",
        "Multiplication des hyper-paramètres",
        "Normalisation is needed to compare, with good parameters known beforehand.",
        "Il faut normaliser pour comparer, avec de bons paramètres connus a priori.",
    ),
    Line(
        "L59",
        "Check-pointing",
        "Training can be stopped and resumed.",
        "L'apprentissage peut être arrêté et repris.",
    ),
    Line(
        "L60",
        "DataLoader",
        "A loader gives the data batch by batch.",
        "Un chargeur donne les données lot par lot.",
    ),
    Line(
        "L61",
        "TensorBoard",
        "Curves are logged and can be read.",
        "Les courbes sont enregistrées et lisibles.",
    ),
    Line(
        "L62",
        "Le perceptron",
        "The output is written without the bias.",
        "La sortie est écrite sans le biais.",
    ),
    Line(
        "L63",
        "SoftMax",
        "Cross-entropy is maximum likelihood.",
        "L'entropie croisée est un maximum de vraisemblance.",
    ),
    Line(
        "L64",
        "Supervision multi-classes",
        "The arg max decides, not the distance to the target.",
        "C'est l'arg max qui décide, non la distance à la cible.",
    ),
    Line(
        "L65",
        "Amélioration du gradient",
        "The gradient of ReLU is strong where the unit is active.",
        "Le gradient de ReLU est fort là où l'unité est active.",
    ),
    Line(
        "L66",
        "Augmented Data",
        "Augmentation acts by mass and by variation.",
        "L'augmentation agit par la masse et par la variation.",
    ),
    Line(
        "L67",
        "Dropout",
        "Units are removed for one iteration.",
        "Des unités sont retirées le temps d'une itération.",
    ),
    Line(
        "L68",
        "Amélioration du gradient",
        "BatchNorm's statistics are those of the mini-batch.",
        "Les statistiques de BatchNorm sont celles du mini-lot.",
    ),
    Line(
        "L69",
        "Boucle standard",
        "Standard modules: one loop trains them all.",
        "Modules standard : une boucle les apprend tous.",
    ),
    Line(
        "L70",
        "Fonction standard d'apprentissage",
        "The mean loss of an epoch is logged.",
        "Le coût moyen d'une époque est enregistré.",
    ),
    Line(
        "L71",
        "OneCycleLR",
        "The optimiser's rate is given beside the schedule's.",
        "Le pas de l'optimiseur est donné à côté de celui du cycle.",
    ),
    Line(
        "L72",
        "Multiplication des hyper-paramètres",
        "Architectures must be compared under many hyper-parameters.",
        "Il faut comparer les architectures sous de nombreux hyper-paramètres.",
    ),
)
