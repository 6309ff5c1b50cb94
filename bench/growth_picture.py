"""The picture of bench/growth.py: seconds, milliseconds and megabytes by the number of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PANELS: tuple[tuple[str, dict[tuple[str, str], str]], ...] = (
    (
        "seconds",
        {
            ("indexing", "index"): "index the images",
            ("indexing", "rescan"): "rescan",
            ("searching", "build"): "build the vector index",
            ("searching", "add"): "add 10,000 to it",
            ("searching", "doctor"): "moodex doctor",
            ("searching", "status"): "moodex status",
        },
    ),
    (
        "milliseconds",
        {
            ("searching", "unlike"): "similar to nothing",
            ("searching", "far_page"): "happy, page at 95%",
            ("searching", "first_page"): "happy, first page",
            ("searching", "like"): "similar",
            ("searching", "like_happy"): "similar and happy",
            ("searching", "index_like_happy"): "the same, index alone",
        },
    ),
    (
        "megabytes of memory",
        {
            ("indexing", "index_mb"): "index the images",
            ("searching", "build_mb"): "build the vector index",
            ("searching", "search_mb"): "search",
            ("searching", "doctor_mb"): "moodex doctor",
        },
    ),
)
"""The unit of each panel, and what it shows: the part and the key of the results, with a name."""

_LEAST_LABEL_DISTANCE = 0.055
"""Between the names at the ends of lines, as a share of the height."""


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw results as a PNG file: both axes are logarithmic, so a slope of 1 is linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, len(PANELS), figsize=(17, 6.5), layout="constrained")
    for axes, (unit, lines) in zip(all_axes, PANELS, strict=True):
        ends: list[tuple[float, float, str, Any]] = []
        for (part, key), name in lines.items():
            rows = {int(size): row[key] for size, row in results.get(part, {}).get("sizes", {}).items() if key in row}
            if rows:
                sizes = sorted(rows)
                values = [max(rows[size], 1e-3) for size in sizes]
                (line,) = axes.plot(sizes, values, marker="o", markersize=4, linewidth=1.8)
                ends.append((sizes[-1], values[-1], name, line.get_color()))
        axes.set(xscale="log", yscale="log", title=unit, xlabel="images")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:g} M")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.grid(which="major", color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.03, y=0.1)
        _name(axes, ends)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _name(axes: Any, ends: list[tuple[float, float, str, Any]]) -> None:
    """Write the name of each line right of its end, moved up if it would cover that of a lower line."""
    to_share = axes.transScale + axes.transLimits
    lowest = -1.0
    for size, value, name, color in sorted(ends, key=lambda end: end[1]):
        x, y = to_share.transform((size, value))
        lowest = max(y, lowest + _LEAST_LABEL_DISTANCE)
        axes.annotate(
            name,
            (x, y),
            (1.04, lowest),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=color,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "alpha": 0.6},
        )
