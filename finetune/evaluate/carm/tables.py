"""Rows as Markdown: a column a model, a line a figure, and what the seed paper has beside them.

The paper's figures are of its own data and models (its Tables 1 and 2; `network` is its 21 M parameters, `tuned` and
`base` the best of its language models). Those of the exact nearest landmark, of the ordered triple and of formats were
recomputed from its released answers.
"""

import math
from collections.abc import Mapping, Sequence

from loopwright.finetune.measure.rows import Bar, Row
from loopwright.finetune.measure.tables import markdown_table

# Of each table: a figure's name in the rows, its name in the table, and what the paper has.
ORDER = ("chance", "prior-frequency", "image-centre", "vlm-base", "vlm-sft", "network", "network, by place", "hybrid")
LOCALISATION = {
    "p1": ("P@1", "network .995, tuned .96, base .64"),
    "p2": ("P@2", "network .91, tuned .93, base .61"),
    "p3": ("P@3", "network .76, tuned .85, base .54"),
    "r1": ("R@1", "network .332, tuned .32, base .21"),
    "r2": ("R@2", "network .61, tuned .62, base .41"),
    "r3": ("R@3", "network .76, tuned .85, base .54"),
    "exact_nearest": ("exact nearest", "tuned .705-.754, base .25-.36"),
    "ordered_triple": ("ordered triple", "tuned .33-.38"),
    "strict_format": ("strict format", ""),
    "repaired_format": ("strict or repaired", ""),
}
CENTRED = {
    "h1": ("H@1", "network .81, tuned .74, base .28"),
    "h2": ("H@2", "network .92, tuned .85, base .42"),
    "h1_re_evaluated": ('H@1 after "re-evaluate"', "one example"),
    "h2_re_evaluated": ('H@2 after "re-evaluate"', "one example"),
    "h1_incorrect": ('H@1 after "incorrect"', "one example"),
    "h2_incorrect": ('H@2 after "incorrect"', "one example"),
}
DISPLACEMENT = {
    "median_mm": ("median, mm", ""),
    "p95_mm": ("p95, mm", ""),
    "within_15_mm": ("within 15 mm", ""),
}
FORMAT = {
    "strict_format": ("strict format", "corrections 0 of 1,762"),
    "repaired_format": ("strict or repaired", ""),
}
LATENCY = {"median_s": ("median a picture, s", "network .155, tuned 1.5-4.9")}
NAVIGATION = {
    "success": ("success", "two routes shown"),
    "never_moving": ("success of never moving", ""),
    "claimed": ("claimed", ""),
    "exposures": ("exposures", ""),
    "distance_mm_median": ("true distance, median, mm", ""),
    "distance_mm_p95": ("true distance, p95, mm", ""),
    "strict_format": ("strict format", ""),
    "unanswered": ("ended without an answer", ""),
}
STRANGERS = {
    "asks": "views asked about",
    "false_claims": "false claims",
    "claimed": "claims",
    "not_found": "not found",
    "success": "success",
    "exposures": "exposures",
}
PRESERVATION = "MMLU-Pro: fine-tuned within .023 of its base"
CONFORMAL = {
    "set_coverage": ("sets hold the truth", ""),
    "set_size": ("size of the sets", ""),
    "radius_coverage": ("radii hold the truth", ""),
}

Lines = Mapping[str, tuple[str, str]]


def markdown(what: str, rows: Sequence[Row], bars: Sequence[Bar]) -> str:
    """All tables of an evaluation, world by world, and whether its bars were met."""
    parts = [f"# {what.capitalize()}"]
    if strangers := [row for row in rows if row.what == "strangers"]:
        return "\n\n".join([*parts, _by_world(strangers)]) + "\n"
    for world in dict.fromkeys(row.world for row in rows):
        parts += [f"## {world}", *_tables([row for row in rows if row.world == world])]
    if bars:
        parts.append("## Bars\n\n" + markdown_table(("bar", "measured", "wanted", "met"), map(_bar_cells, bars)))
    return "\n\n".join(parts) + "\n"


def _tables(rows: Sequence[Row]) -> list[str]:
    of = {what: [row for row in rows if row.what == what] for what in dict.fromkeys(row.what for row in rows)}
    found = of.get("localisation", [])
    among = {candidates: [r for r in found if r.variant.startswith(candidates)] for candidates in ("all", "annotated")}
    tables = [
        ("Nearest landmarks, body views (the paper's Table 1)", among["all"], LOCALISATION, "n"),
        ("Centred views (the paper's Table 2)", among["all"], CENTRED, "n_centred"),
        ("Nearest landmarks, body views, among the annotated ones", among["annotated"], LOCALISATION, "n"),
        ("Centred views, among the annotated ones", among["annotated"], CENTRED, "n_centred"),
        ("Displacement of landmarks in view", of.get("displacement", []), DISPLACEMENT, "n"),
        ("Format, drawn without a grammar", of.get("format", []), FORMAT, "n"),
        ("Conformal promises", of.get("conformal", []), CONFORMAL, "n"),
        ("Latency", of.get("latency", []), LATENCY, "n"),
        ("Navigation", of.get("navigation", []), NAVIGATION, "n"),
    ]
    written = [f"### {title}\n\n{_by_model(chosen, lines, n)}" for title, chosen, lines, n in tables if chosen]
    if preservation := of.get("preservation"):
        written.append(f"### Exact answers to held-out questions\n\n{_by_variant(preservation, 'exact', PRESERVATION)}")
    if language := of.get("language"):
        written.append(f"### Language, by lm-evaluation-harness\n\n{_by_variant(language, 'score', '')}")
    return written


def _by_model(rows: Sequence[Row], lines: Lines, n: str) -> str:
    """One table, models across. `n` is the figure or field that counts."""
    columns = sorted(rows, key=lambda row: ORDER.index(row.model) if row.model in ORDER else len(ORDER))
    body = [
        (title, *(_cell(row, name) for row in columns), paper)
        for name, (title, paper) in lines.items()
        if any(name in row.figures for row in columns)
    ]
    counts = [f"{row.figures.get(n, row.n):.0f} of {row.n_cases}" for row in columns]
    has_paper = any(paper for *_, paper in body)
    table = [("", *_headings(columns), "paper"), *body, ("N, of cases", *counts, "")]
    heads, *below = table if has_paper else [line[:-1] for line in table]
    return markdown_table(heads, below)


def _headings(rows: Sequence[Row]) -> list[str]:
    """The model of each, and the variant where it tells the rows apart."""
    variants = [row.variant.partition(", ")[2] if row.what == "localisation" else row.variant for row in rows]
    if len(set(variants)) == 1:
        variants = [""] * len(rows)
    return [f"{row.model}, {how}" if how else row.model for row, how in zip(rows, variants, strict=True)]


def _by_world(rows: Sequence[Row]) -> str:
    """Known and strange volumes: a line a world and gate."""
    heads = ("", "", *STRANGERS.values(), "N views / runs, of volumes")
    lines = [
        (
            f"{row.world} ({row.variant})",
            row.model,
            *(_cell(row, name) for name in STRANGERS),
            f"{row.figures['n_views']:.0f} / {row.n}, of {row.n_cases}",
        )
        for row in rows
    ]
    return markdown_table(heads, lines)


def _by_variant(rows: Sequence[Row], name: str, paper: str) -> str:
    """One figure, a line a variant, models across. The paper's stands beside the first."""
    cells = {(row.variant, row.model): _cell(row, name) for row in rows}
    counts = {row.variant: f"{row.n} of {row.n_cases}" for row in rows}
    models = list(dict.fromkeys(row.model for row in rows))
    lines = [
        (variant, *(cells[variant, model] for model in models), counts[variant], "" if i else paper)
        for i, variant in enumerate(counts)
    ]
    return markdown_table(("", *models, "N, of cases", "paper"), lines)


def _cell(row: Row, name: str) -> str:
    if name not in row.figures:
        return ""
    shown = _number(row.figures[name])
    if name in row.intervals:
        return f"{shown} [{', '.join(map(_number, row.intervals[name]))}]"
    return shown


def _number(value: float) -> str:
    """Shares to three digits without their leading zero, as in the paper; what is larger to a tenth."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.1f}"


def _bar_cells(bar: Bar) -> tuple[str, ...]:
    return bar.name, _number(bar.value), _number(bar.wanted), "yes" if bar.is_met else "**no**"
