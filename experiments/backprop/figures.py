"""What a teacher shows about back-propagation: formulas at the limit of precision, and what the way back costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from experiments.backprop import measures
from experiments.backprop.memory import SHOWN_BATCH, SHOWN_DEPTHS, SHOWN_INPUTS, SHOWN_OUTPUTS, SHOWN_WIDTH
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats

# What each check is about, in the order of the lecture.
FORMULAS = {
    "forward_pass": "forward, unit by unit",
    "last_layer": "last layer: 2 g′(a₃)(ŷ − y) zᵢ",
    "last_layer_transcription": "a₃ with w₂₁ (✖ w₁₂)",
    "first_layer": "first layer: ∂L/∂a₃ g′(aⱼ) wⱼ₁ xᵢ",
    "first_layer_transcription": "its result (✖ without g′(aⱼ) wⱼ₁)",
    "general_case": "general case: g′(aⱼ) (✖ g′(aₖ))",
    "delta_index": "δⱼ = ∂L/∂aⱼ (✖ ∂L/∂aᵢ)",
    "delta_recursion": "δ down 20 layers",
    "modules": "modules: z, δ, gradients",
    "linear_module": "linear: δₙ zⱼ for wⱼₙ (✖ for wᵢₙ)",
    "mse_delta": "δ end = 2/N (z − y), N = batch·outputs (✖ batch)",
    "autograd": "whole networks by hand and by autograd",
    "clipping": "clipping keeps the direction",
    "batch_norm": "BatchNorm, forward and backward",
    "layer_norm": "LayerNorm, forward and backward",
}
STORED = {
    "by_hand": ("● the modules by hand", d.BLUE, "o"),
    "autograd": ("✖ autograd, the targets as well", d.VERMILLION, "x"),
}
ROUNDING = math.log10(np.finfo(float).eps)


def formula_errors(results: Results) -> Drawing:
    """The largest error of each formula, and the usual one of the form as transcribed, against machine precision."""
    figure = d.new_figure(8.4)
    axes = figure.subplots()
    for y, check in enumerate(FORMULAS):
        for kind, color, marker, measure in (
            ("error", d.BLUE, "o", measures.error_decades),
            ("transcribed", d.VERMILLION, "X", measures.transcribed_decades),
        ):
            decades = _decades(results.checks.get(check, ()), measure)
            if len(decades):
                axes.hlines(y, decades.min(), decades.max(), color=color, linewidth=3.5, gid=f"range/{kind}/{check}")
                shown = decades.max() if kind == "error" else float(np.median(decades))
                axes.plot(shown, y, marker, color=color, gid=f"{kind}/{check}")
    axes.axvline(ROUNDING, color=d.BLACK, linestyle=":", gid="rounding")
    axes.text(ROUNDING + 0.2, -0.8, "machine precision", va="center", fontsize=d.SMALL)
    ticks = [measures.NOTHING, *range(-15, 2, 3)]
    axes.set_xticks(ticks, ["0", *(f"$10^{{{tick}}}$" for tick in ticks[1:])])
    axes.set_yticks(range(len(FORMULAS)), list(FORMULAS.values()))
    axes.set(ylim=(len(FORMULAS) - 0.4, -1.2), xlim=(measures.NOTHING - 0.4, 1.6))
    axes.set_xlabel("error, relative to the largest true value")
    n = _count(results)
    return Drawing(
        figure,
        Words("Every formula of the gradient against its truth", "Chaque formule du gradient face à sa vérité"),
        Words(
            f"● largest error of any draw of any seed ({n}), bar: from one seed's to another's; 0: exactly. "
            "✖ the form as transcribed, or another reading: median error, to be checked against the slide. The truth: "
            "autograd or torch's own layers.",
            f"● plus grande erreur de tous les tirages ({n}), barre : de celle d'une graine à celle d'une autre ; "
            "0 : exactement. ✖ la forme transcrite, ou une autre lecture : erreur médiane, à vérifier sur le "
            "transparent. La vérité : autograd ou les couches de torch.",
        ),
    )


def finite_differences(results: Results) -> Drawing:
    """How far a central difference is from the gradient, by its step: between Taylor's series and rounding."""
    figure = d.new_figure()
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log")
    measured, theory = (_by_step(results, name) for name in ("measured", "theory"))
    if measured:
        plots.draw_points(axes, list(measured), list(measured.values()), "measured", d.BLUE, scale=plots.LOG)
        bound = plots.summary(list(theory), list(theory.values()), plots.LOG)
        axes.plot(bound.x, bound.mean, ":", color=d.BLACK, gid="theory")
    axes.text(0.98, 0.18, "h too large:\nthe Taylor series", ha="right", transform=axes.transAxes)
    axes.text(0.02, 0.18, "h too small:\nrounding", transform=axes.transAxes)
    axes.text(0.5, 0.9, r"dotted: $h^2/6\,|L'''| + \varepsilon L/h$", ha="center", transform=axes.transAxes)
    axes.set(xlabel="step h of the central difference", ylabel="|difference − gradient|")
    n = plots.count_checks(results, "finite_differences")
    return Drawing(
        figure,
        Words("Checking a gradient by finite differences", "Vérifier un gradient par différences finies"),
        Words(
            f"Weight w₁₁ of the first layer, median over 200 networks a seed: geometric mean over seeds ({n}) and 95 % "
            "Student interval of its logarithm, often smaller than the dot. Dotted: what the Taylor series leaves out, "
            "and the most that rounding can do, each loss being wrong by one unit.",
            f"Poids w₁₁ de la première couche, médiane sur 200 réseaux par graine : moyenne géométrique sur les "
            f"graines ({n}) et intervalle de Student à 95 % de son logarithme. Pointillés : ce que néglige "
            "la série de Taylor, et le plus que peut l'arrondi, chaque coût étant faux d'une unité.",
        ),
    )


def stored_activations(results: Results) -> Drawing:
    """What forward keeps for backward, by depth, beside the line that the formula gives."""
    figure = d.new_figure()
    axes = figure.subplots()
    depths = np.array(SHOWN_DEPTHS, dtype=float)
    theory = 4 * SHOWN_BATCH * (SHOWN_INPUTS + depths * SHOWN_WIDTH + SHOWN_OUTPUTS) / 1024
    axes.plot(depths, theory, ":", color=d.BLACK, gid="theory")
    for name, (label, color, marker) in STORED.items():
        measures = [f"{name}/depth={depth:02d}" for depth in SHOWN_DEPTHS]
        shown = [plots.check_column(results, "stored_activations", measure) for measure in measures]
        plots.draw_points(axes, depths, shown, label, color, style=marker, edge=2.5)
    plots.write_names(axes, {label: color for label, color, _ in STORED.values()}, 0.04, 0.92, 0.07)
    axes.set(xlabel="hidden layers", ylabel="kept for the way back (KiB)", xlim=(0, None), ylim=(0, None))
    axes.text(
        0.98, 0.06, "dotted: 4 · batch · (inputs + depth · width + outputs)", ha="right", transform=axes.transAxes
    )
    n = plots.count_checks(results, "stored_activations")
    return Drawing(
        figure,
        Words("What forward stores", "Ce que stocke la passe avant"),
        Words(
            f"Memory of the activations kept for the way back: batch {SHOWN_BATCH}, width {SHOWN_WIDTH}, single "
            f"precision; the same for every seed ({n}). Dotted: theory.",
            f"Mémoire des activations gardées pour le retour : lot {SHOWN_BATCH}, largeur {SHOWN_WIDTH}, simple "
            f"précision ; la même pour chaque graine ({n}). Pointillés : théorie.",
        ),
    )


def _decades(checks: Sequence[Run], measure: Callable[[Run], float]) -> Floats:
    values = [measure(check) for check in checks]
    return np.array([value for value in values if math.isfinite(value)], dtype=float)


def _by_step(results: Results, name: str) -> dict[float, plots.Column]:
    """A number of the check by its step h, the smallest first."""
    found = results.checks.get("finite_differences", ())
    keys = {key for check in found for key in check.recorded if key.startswith(f"{name}/h=")}
    return {
        float(key.partition("=")[2]): plots.check_column(results, "finite_differences", key)
        for key in sorted(keys, key=lambda key: float(key.partition("=")[2]))
    }


def _count(results: Results) -> str:
    return d.count_words(len(found) for found in results.checks.values())
