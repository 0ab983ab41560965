"""More images from the same ones: what changed images are worth beside copies, and beside new images."""

from experiments.core.definitions import Claim, Experiment, Overrides, Value, axes

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
    claims = []
    for labels, words, words_fr, conditions in (
        ("noisy", "when a fifth of the training labels are drawn at random", "si un cinquième des étiquettes d'apprentissage sont tirées au hasard", [NOISY, _noisy(overrides)]),
        ("clean", "when all training labels are right", "si toutes les étiquettes d'apprentissage sont justes", [{}, overrides]),
    ):  # fmt: skip
        claims.append(
            Claim(
                f"L40-{name}-accuracy-{labels}",
                statement=f"{english} make the network classify new images better {words}.",
                statement_fr=f"{french} font mieux classer de nouvelles images {words_fr}.",
                slide=PERTURBED,
                kind="effect",
                measure="test/accuracy",
                contrast="smallest_difference",
                conditions=conditions,
                above=ONE_POINT,
                if_diverged=CHANCE,
                primary=primary and labels == "noisy",
                figure="gains",
                note=SETTING,
                holds=f"with a fifth of the labels drawn at random (L40-{name}-accuracy-noisy)"
                if labels == "clean"
                else "",
            )
        )
    return claims


experiment = Experiment(
    title="Data augmentation",
    title_fr="L'augmentation de données",
    data=("fashion_mnist",),
    grid=[
        axes(label_noise=[0.0, 0.2]),
        axes(label_noise=[0.0, 0.2], config=["shift_flip", "autoaugment", "trivial_augment", "erase"]),
        axes(config=["duplicates", "new_images"]),
    ],
    claims=[
        Claim(
            "L40-each-loss",
            statement="Every kind of augmentation tried lowers the cross-entropy on new images.",
            statement_fr="Chaque sorte d'augmentation essayée diminue l'entropie croisée sur de nouvelles images.",
            slide=PERTURBED,
            kind="effect",
            measure="test/loss",
            contrast="largest_difference",
            conditions=[{}, *EACH],
            below=-FIVE_PERCENT,
            if_diverged=CHANCE_LOSS,
            figure="gains",
            note=WORST,
        ),
        *_on_accuracy(
            "shift-flip", "Shifted and mirrored images", "Des images décalées et retournées", SHIFT_FLIP, primary=True
        ),
        Claim(
            "L66-mass-alone",
            statement="Mass alone changes nothing: three more copies of every image leave the loss on new images as it was.",
            statement_fr="La masse seule ne change rien : trois copies de plus de chaque image laissent inchangé le coût sur de nouvelles images.",
            slide=MASS,
            kind="equivalence",
            measure="test/loss",
            contrast="smallest_difference",
            conditions=[{}, DUPLICATES],
            within=FIVE_PERCENT,
            if_diverged=CHANCE_LOSS,
            figure="mass_and_variation",
            note=EQUAL,
        ),
        Claim(
            "L66-variation",
            statement="Variation is what helps: four changed copies of every image give a lower loss on new images than four equal ones.",
            statement_fr="C'est la variation qui aide : quatre copies modifiées de chaque image donnent un coût plus bas sur de nouvelles images que quatre copies identiques.",
            slide=MASS,
            kind="effect",
            measure="test/loss",
            contrast="smallest_difference",
            conditions=[DUPLICATES, AUTOAUGMENT],
            below=-FIVE_PERCENT,
            if_diverged=CHANCE_LOSS,
            figure="mass_and_variation",
            note=f"Changed by AutoAugment's policy for SVHN. {EQUAL}",
        ),
        Claim(
            "L66-new-images",
            statement="As many new images help more: they make the network classify better than changed copies do.",
            statement_fr="Autant d'images nouvelles aident davantage : elles font mieux classer que des copies modifiées.",
            slide=MASS,
            kind="effect",
            measure="test/accuracy",
            contrast="smallest_difference",
            conditions=[AUTOAUGMENT, NEW_IMAGES],
            above=ONE_POINT,
            if_diverged=CHANCE,
            source="beyond",
            figure="mass_and_variation",
            note=f"4,000 images in both cases, of which 1,000 or 4,000 are different ones. {EQUAL}",
        ),
        Claim(
            "L66-control",
            statement="Three more copies of every image make the network classify new images better.",
            statement_fr="Trois copies de plus de chaque image font mieux classer de nouvelles images.",
            slide=MASS,
            kind="effect",
            measure="test/accuracy",
            contrast="smallest_difference",
            conditions=[{}, DUPLICATES],
            above=ONE_POINT,
            if_diverged=CHANCE,
            source="beyond",
            control=True,
            figure="mass_and_variation",
            note="Expected to be refuted: it shows that this experiment can refute.",
        ),
        *_on_accuracy(
            "autoaugment",
            "Images changed by AutoAugment's policy for SVHN",
            "Des images modifiées par la politique d'AutoAugment pour SVHN",
            AUTOAUGMENT,
        ),
        *_on_accuracy(
            "trivial-augment", "Images changed by TrivialAugment", "Des images modifiées par TrivialAugment", TRIVIAL
        ),
        *_on_accuracy("erase", "Images with an erased rectangle", "Des images au rectangle effacé", ERASE),
        Claim(
            "L41-sub-policies",
            statement="Of the five sub-policies in the slide's table, so many are in torchvision's AutoAugment for SVHN.",
            statement_fr="Des cinq sous-politiques du tableau, tant se trouvent dans l'AutoAugment de torchvision pour SVHN.",
            slide=AUTOMATIC,
            kind="census",
            check="sub_policies",
            measure="found",
            resolution=1.0,
            primary=False,
            figure="sub_policies",
            note="Operation, probability and, where the operation has one, magnitude.",
        ),
        Claim(
            "L41-shear",
            statement="The first sub-policy is torchvision's if ShearX has magnitude 4; as transcribed it has 7.",
            statement_fr="La première sous-politique est celle de torchvision si ShearX est d'amplitude 4 ; telle que transcrite, elle est de 7.",
            slide=AUTOMATIC,
            kind="transcription",
            check="sub_policies",
            tolerance=0.0,
            figure="sub_policies",
            note="To be checked against the slide.",
        ),
    ],
    figures=("sub_policies", "gains", "mass_and_variation"),
)
