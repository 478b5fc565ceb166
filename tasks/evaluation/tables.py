"""The tables of an evaluation, as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colorization.metrics.baselines import BASELINES
from colorization.metrics.intervals import CONFIDENCE, NUM_DRAWS, Interval
from tasks.evaluation.scores import MEASURES, Difference, Measure, Score
from tasks.jobs.evaluation.items import TRUTH

_ARROWS = {1: " ↑", -1: " ↓", 0: ""}
_LATEX_ARROWS = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two systems by name, and what they differ by."""

    first: str
    second: str
    differences: Sequence[Difference]


def markdown(heading: Sequence[str], scores: Sequence[Score], compared: Comparison | None) -> str:
    """heading: paragraphs on what was measured and how."""
    lines = ["# Evaluation", "", *(line for text in heading for line in (text, ""))]
    for category, rows in _by_category(scores):
        lines += [f"## {category or 'all'}, {rows[0].num_photos} photos", ""]
        lines += _table(rows, _markdown_row, _ARROWS) + [""]
    if compared:
        lines += [f"## {_cell(compared.first)} − {_cell(compared.second)}, photo by photo", ""]
        lines += [
            "| category | measure | difference | better on | photos |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {d.category or 'all'} | {MEASURES[d.measure].title} | "
            f"{_shown(d.interval, MEASURES[d.measure], '+')} | {_better(d)} | {d.num_photos} |"
            for d in compared.differences
        ]
        lines.append("")
    return "\n".join(lines)


def latex(heading: Sequence[str], scores: Sequence[Score], compared: Comparison | None) -> str:
    """The same without packages: one tabular a category. heading: becomes comments."""
    lines = [f"% {line}" for text in heading for line in text.splitlines()]
    for category, rows in _by_category(scores):
        body = _table(rows, _latex_row, _LATEX_ARROWS)
        columns = "l" + "r" * (body[0].count("&"))
        lines += ["", f"% {category or 'all'}, {rows[0].num_photos} photos"]
        lines += [rf"\begin{{tabular}}{{{columns}}}", r"\hline", body[0], r"\hline", *body[1:]]
        lines += [r"\hline", r"\end{tabular}"]
    if compared:
        names = rf"{_escaped(compared.first)} $-$ {_escaped(compared.second)}"
        lines += ["", r"\begin{tabular}{llrrr}", r"\hline"]
        lines += [rf"category & measure & {names} & better on & photos \\", r"\hline"]
        lines += [
            rf"{d.category or 'all'} & {MEASURES[d.measure].latex} & "
            rf"{_shown(d.interval, MEASURES[d.measure], '+')} & {_better(d)} & {d.num_photos} \\"
            for d in compared.differences
        ]
        lines += [r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def how_to_read() -> str:
    """What the cells are."""
    return (
        f"Cells: mean over photos [{CONFIDENCE:.0%} interval: percentiles of {NUM_DRAWS} bootstrap "
        "means]. SSIM and PSNR of 8-bit sRGB; AuC: Zhang et al. 2016, area under the share of pixels "
        "within t of the true ab, t = 0..150; colourf.: Hasler and Süsstrunk 2003, abs.: with "
        "absolute differences. constant and photo mean know the true mean colour. Bold: the best of the "
        "systems."
    )


def _by_category(scores: Sequence[Score]) -> list[tuple[str, list[Score]]]:
    names = dict.fromkeys(score.category for score in scores)
    return [(name, [score for score in scores if score.category == name]) for name in names]


def _table(
    rows: Sequence[Score], render: Callable[[Sequence[str]], str], arrows: dict[int, str]
) -> list[str]:
    """Heading and rows; the heading of Markdown comes with its rule."""
    is_latex = render is _latex_row
    measures = [name for name in MEASURES if any(name in row.intervals for row in rows)]
    has_fid = any(row.fid is not None for row in rows)
    titles = ["system"]
    for name in measures:
        measure = MEASURES[name]
        titles.append((measure.latex if is_latex else measure.title) + arrows[measure.sign])
    titles += [f"FID{arrows[-1]}"] if has_fid else []
    lines = [render(titles)]
    if not is_latex:
        lines.append("|" + "---|" * len(titles))
    best = {name: _best(rows, name) for name in measures}
    fids = [row.fid for row in _systems(rows) if row.fid is not None]
    best_fid = min(fids) if len(fids) > 1 else None
    strong = _latex_strong if is_latex else _markdown_strong
    for row in rows:
        cells = [_escaped(row.system) if is_latex else _cell(row.system)]
        for name in measures:
            found = row.intervals.get(name)
            text = _shown(found, MEASURES[name]) if found else ""
            cells.append(strong(text) if found and found.mean == best[name] else text)
        if has_fid:
            text = "" if row.fid is None else f"{row.fid:.2f}"
            cells.append(strong(text) if text and row.fid == best_fid else text)
        lines.append(render(cells))
    return lines


def _systems(rows: Sequence[Score]) -> list[Score]:
    """Those that do not know the truth."""
    return [row for row in rows if row.system not in (*BASELINES, TRUTH)]


def _best(rows: Sequence[Score], name: str) -> float | None:
    """The best mean of a measure among several systems; None where neither more nor less is."""
    sign, systems = MEASURES[name].sign, _systems(rows)
    if not sign or len(systems) < 2:
        return None
    return max((row.intervals[name].mean for row in systems), key=lambda mean: sign * mean)


def _markdown_strong(text: str) -> str:
    """The mean in bold."""
    return re.sub(r"^\S+", lambda mean: f"**{mean[0]}**", text)


def _latex_strong(text: str) -> str:
    return re.sub(r"^\S+", lambda mean: rf"\textbf{{{mean[0]}}}", text)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _shown(interval: Interval, measure: Measure, sign: str = "") -> str:
    mean, low, high = (f"{value * measure.factor:{sign}.{measure.digits}f}" for value in interval)
    return f"{mean} [{low}, {high}]"


def _better(difference: Difference) -> str:
    return "" if difference.num_better is None else str(difference.num_better)


def _cell(text: str) -> str:
    """Outside text in a Markdown table."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def _escaped(text: str) -> str:
    """Outside text in LaTeX."""
    return "".join(_ESCAPES.get(character, character) for character in text)
