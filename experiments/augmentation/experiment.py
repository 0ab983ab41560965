"""More images from the same ones: what changed images are worth beside copies, and beside new images."""

from experiments.core.definitions import (
    Claim,
    Experiment,
    Overrides,
    Value,
    axes,
    census,
    effect,
    equivalence,
    transcription,
)

PERTURBED = "Différentes techniques qui visent toutes à régulariser le réseau"
MASS = "Data augmentation: une idée simple pour régulariser par la masse et les variations"
AUTOMATIC = "Data augmentation: comment automatiser le processus?"
# A twentieth of a nat: 5 % more probability for the right class, in the geometric mean over test images.
FIVE_PERCENT = 0.05
# Ten more of 1,000 test images.
ONE_POINT = 0.01
# A diverged network is worth a guess among ten classes, whose loss is ln 10.
CHANCE, CHANCE_LOSS = 0.1, 2.303

NOISY: Overrides = {"label_noise": 0.2}
SHIFT_FLIP: Overrides = {"config": "shift_flip"}
AUTOAUGMENT: Overrides = {"config": "autoaugment"}
TRIVIAL: Overrides = {"config": "trivial_augment"}
ERASE: Overrides = {"config": "erase"}
DUPLICATES: Overrides = {"config": "duplicates"}
NEW_IMAGES: Overrides = {"config": "new_images"}
EACH = (SHIFT_FLIP, AUTOAUGMENT, TRIVIAL, ERASE)

SETTING = (
    "A fully connected network, 400 steps on 1,000 images of Fashion-MNIST at 14 × 14 pixels, the last weights tested."
)
WORST = f"Per seed, the one that does worst of shifted and mirrored images, AutoAugment (SVHN), TrivialAugment and erased rectangles. {SETTING}"
EQUAL = "At equal steps: 400 batches of 100."


def _noisy(overrides: Overrides) -> dict[str, Value]:
    return {**NOISY, **overrides}


def _on_accuracy(name: str, english: str, french: str, overrides: Overrides, primary: bool = False) -> list[Claim]:
    """Accuracy with noisy training labels, which may be of the family, and with clean ones, which is not."""
    return [
        effect(f"L40-{name}-accuracy-noisy",
            f"{english} make the network classify new images better when a fifth of the training labels are drawn at random.",
            f"{french} font mieux classer de nouvelles images si un cinquième des étiquettes d'apprentissage sont tirées au hasard.",
            measure="test/accuracy", contrast="smallest_difference", conditions=[NOISY, _noisy(overrides)],
            above=ONE_POINT, if_diverged=CHANCE, figure="gains", slide=PERTURBED, primary=primary, note=SETTING),
        effect(f"L40-{name}-accuracy-clean",
            f"{english} make the network classify new images better when all training labels are right.",
            f"{french} font mieux classer de nouvelles images si toutes les étiquettes d'apprentissage sont justes.",
            measure="test/accuracy", contrast="smallest_difference", conditions=[{}, overrides],
            above=ONE_POINT, if_diverged=CHANCE, figure="gains", slide=PERTURBED, primary=False, note=SETTING,
            holds=f"with a fifth of the labels drawn at random (L40-{name}-accuracy-noisy)"),
    ]  # fmt: skip


# A claim is its sentence in two languages, then what decides it; the formatter would give each argument a line of its own.
# fmt: off
CLAIMS = [
    effect("L40-each-loss",
        "Every kind of augmentation tried lowers the cross-entropy on new images.",
        "Chaque sorte d'augmentation essayée diminue l'entropie croisée sur de nouvelles images.",
        measure="test/loss", contrast="largest_difference", conditions=[{}, *EACH], below=-FIVE_PERCENT,
        if_diverged=CHANCE_LOSS, figure="gains", slide=PERTURBED, note=WORST),
    *_on_accuracy("shift-flip", "Shifted and mirrored images", "Des images décalées et retournées", SHIFT_FLIP, primary=True),
    equivalence("L66-mass-alone",
        "Mass alone changes nothing: three more copies of every image leave the loss on new images as it was.",
        "La masse seule ne change rien : trois copies de plus de chaque image laissent inchangé le coût sur de nouvelles images.",
        measure="test/loss", contrast="smallest_difference", conditions=[{}, DUPLICATES], within=FIVE_PERCENT,
        if_diverged=CHANCE_LOSS, figure="mass_and_variation", slide=MASS, note=EQUAL),
    effect("L66-variation",
        "Variation is what helps: four changed copies of every image give a lower loss on new images than four equal ones.",
        "C'est la variation qui aide : quatre copies modifiées de chaque image donnent un coût plus bas sur de nouvelles images que quatre copies identiques.",
        measure="test/loss", contrast="smallest_difference", conditions=[DUPLICATES, AUTOAUGMENT], below=-FIVE_PERCENT,
        if_diverged=CHANCE_LOSS, figure="mass_and_variation", slide=MASS,
        note=f"Changed by AutoAugment's policy for SVHN. {EQUAL}"),
    effect("L66-new-images",
        "As many new images help more: they make the network classify better than changed copies do.",
        "Autant d'images nouvelles aident davantage : elles font mieux classer que des copies modifiées.",
        measure="test/accuracy", contrast="smallest_difference", conditions=[AUTOAUGMENT, NEW_IMAGES], above=ONE_POINT,
        if_diverged=CHANCE, figure="mass_and_variation", slide=MASS, source="beyond",
        note=f"4,000 images in both cases, of which 1,000 or 4,000 are different ones. {EQUAL}"),
    effect("L66-control",
        "Three more copies of every image make the network classify new images better.",
        "Trois copies de plus de chaque image font mieux classer de nouvelles images.",
        measure="test/accuracy", contrast="smallest_difference", conditions=[{}, DUPLICATES], above=ONE_POINT,
        if_diverged=CHANCE, figure="mass_and_variation", slide=MASS, control=True),
    *_on_accuracy("autoaugment",
        "Images changed by AutoAugment's policy for SVHN",
        "Des images modifiées par la politique d'AutoAugment pour SVHN",
        AUTOAUGMENT),
    *_on_accuracy("trivial-augment", "Images changed by TrivialAugment", "Des images modifiées par TrivialAugment", TRIVIAL),
    *_on_accuracy("erase", "Images with an erased rectangle", "Des images au rectangle effacé", ERASE),
    census("L41-sub-policies",
        "Of the five sub-policies in the slide's table, so many are in torchvision's AutoAugment for SVHN.",
        "Des cinq sous-politiques du tableau, tant se trouvent dans l'AutoAugment de torchvision pour SVHN.",
        measure="found", check="sub_policies", resolution=1.0, figure="sub_policies", slide=AUTOMATIC,
        note="Operation, probability and, where the operation has one, magnitude."),
    transcription("L41-shear",
        "The first sub-policy is torchvision's if ShearX has magnitude 4; as transcribed it has 7.",
        "La première sous-politique est celle de torchvision si ShearX est d'amplitude 4 ; telle que transcrite, elle est de 7.",
        check="sub_policies", tolerance=0.0, figure="sub_policies", slide=AUTOMATIC,
        note="To be checked against the slide."),
]
# fmt: on

experiment = Experiment(
    title="Data augmentation",
    title_fr="L'augmentation de données",
    data=("fashion_mnist",),
    grid=[
        axes(label_noise=[0.0, 0.2]),
        axes(label_noise=[0.0, 0.2], config=["shift_flip", "autoaugment", "trivial_augment", "erase"]),
        axes(config=["duplicates", "new_images"]),
    ],
    claims=CLAIMS,
    figures=("sub_policies", "gains", "mass_and_variation"),
)
