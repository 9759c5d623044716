"""What a tenfold of compute buys, each architecture against the reference."""

import altair as alt

from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.charts import parts
from clinometer.tools.report.tables import study_tables
from clinometer.tools.report.theme import var

_STEP = 25  # Height of a row, pixels.
_KNOWN = "isValid(datum.diff)"
_HOLLOW = "(datum.outcome == 'undecided' || !isValid(datum.outcome))"
_TABLE = "architectures"


def draw(tables: study_tables.StudyTables, variant: str = "wide") -> alt.ConcatChart:
    """Draws differences of gain, and levels as factors of compute.

    Args:
        tables: the tables of the study; needs an architecture that is compared.
        variant: "wide" or "narrow".
    """
    rows = tables[_TABLE]
    height = _STEP * len(rows)
    y = alt.Y(
        "arch:N",
        sort=[row["arch"] for row in rows],
        title=None,
        axis=None,
        scale=alt.Scale(type="band", padding=0.1),
    )
    base = parts.named(_TABLE).encode(
        y=y, opacity=alt.condition(theme.PICKED, alt.value(1), alt.value(0.18))
    )
    make = _Columns(tables, base, height)
    if variant == "wide":
        chart = alt.hconcat(
            make.labels(98),
            make.gains(222),
            make.words(78, "outcome_text"),
            make.factors(188),
            spacing=12,
        )
    else:
        chart = alt.vconcat(
            _apart(
                alt.hconcat(
                    make.labels(88),
                    make.gains(158),
                    make.words(76, "outcome_text"),
                    spacing=8,
                )
            ),
            _apart(alt.hconcat(make.labels(88), make.factors(240), spacing=8)),
            spacing=20,
        )
    return parts.finished(_apart(chart).properties(padding=1), tables, [_TABLE])


def _apart(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """Gives each part of a chart scales of its own."""
    return chart.resolve_scale(
        **dict.fromkeys(("x", "y", "shape", "color", "fill"), "independent")
    )


class _Columns:
    """The parts of the chart, side by side."""

    def __init__(
        self, tables: study_tables.StudyTables, base: alt.Chart, height: int
    ) -> None:
        self._tables, self._base, self._height = tables, base, height
        self._rows = tables[_TABLE]

    def _layered(self, layers: list[alt.Chart], width: int) -> alt.LayerChart:
        unseen = self._base.mark_bar(opacity=0, stroke=None).encode(
            x=alt.value(0), x2=alt.value(width), opacity=alt.value(0)
        )
        return alt.layer(*layers, unseen).properties(width=width, height=self._height)

    def labels(self, width: int) -> alt.LayerChart:
        mark = self._base.mark_point(filled=True, size=52, opacity=1).encode(
            x=alt.value(6),
            color=parts.hue(self._tables),
            shape=parts.shape(self._tables),
        )
        text = self._base.mark_text(align="left", fontSize=12).encode(
            x=alt.value(18), text="label:N"
        )
        return self._layered([mark, text], width)

    def words(self, width: int, field: str) -> alt.LayerChart:
        decided = "datum.outcome == 'worse' || datum.outcome == 'better'"
        text = self._base.mark_text(
            align="left", fontSize=11, fontWeight=alt.expr(f"{decided} ? 600 : 400")
        ).encode(
            x=alt.value(0),
            text=f"{field}:N",
            color=alt.condition(
                decided, alt.value(var("ink")), alt.value(var("muted"))
            ),
        )
        return self._layered([text], width)

    def gains(self, width: int) -> alt.LayerChart:
        ends = ("diff", "diff_lo", "diff_hi")
        values = [r[c] for r in self._rows for c in ends if r[c] is not None]
        margin = self._rows[0]["margin"]
        values += [-margin, margin] if margin else []
        x = axes.linear_x(
            "diff",
            values,
            "Gain less vanilla’s, nats",
            most=4,
            orient="top",
            domain=False,
            grid=True,
            titleAnchor="start",
            titleColor=var("ink"),
        )
        known = self._base.transform_filter(_KNOWN)
        zero = parts.named(_TABLE).transform_filter("datum.outcome == 'reference'")
        layers = []
        if margin:
            layers.append(
                zero.transform_calculate(a="-datum.margin", b="datum.margin")
                .mark_rect(fill=var("band"))
                .encode(x=parts.same(x, "a"), x2="b:Q")
            )
        layers += [
            zero.mark_rule(stroke=var("muted"), strokeDash=[3, 2]).encode(x=x),
            known.transform_filter("isValid(datum.diff_lo)")
            .mark_rule(strokeWidth=1.6)
            .encode(x=parts.same(x, "diff_lo"), x2="diff_hi:Q", color=_ink("stroke")),
            known.mark_point(size=52, strokeWidth=1.6, opacity=1, filled=False).encode(
                x=x, color=_ink("stroke"), fill=_ink("fill")
            ),
            self._base.transform_filter(f"!{_KNOWN}")
            .mark_text(align="left", fill=var("muted"), fontSize=10.5)
            .encode(x=alt.value(4), text=alt.value("not compared")),
        ]
        return self._layered(layers, width)

    def factors(self, width: int) -> alt.LayerChart:
        ends = ("times", "times_lo", "times_hi")
        values = [r[c] for r in self._rows for c in ends if r[c] is not None]
        # Very wide intervals are cut off, with an arrow at the open end.
        low, high = max(min(values), 0.05) / 1.1, min(max(values), 20.0) * 1.1
        # Labels of factors of two would overlap on a wide axis.
        wide = high / low > 30
        marks = (0.1, 0.3, 1, 3, 10) if wide else (0.1, 0.25, 0.5, 1, 2, 4, 10)
        marks = [m for m in marks if low <= m <= high]
        x = alt.X(
            "times:Q",
            title="Compute for equal loss (log)",
            scale=alt.Scale(type="log", domain=[low, high], nice=False, clamp=True),
            axis=alt.Axis(
                values=marks,
                labelExpr="'×' + datum.value",
                orient="top",
                domain=False,
                grid=True,
                titleAnchor="start",
                titleColor=var("ink"),
            ),
        )
        known = self._base.transform_filter("isValid(datum.times)")
        bounded = known.transform_filter("isValid(datum.times_lo)")
        arrow = {"filled": True, "size": 34, "fill": var("muted"), "opacity": 1}
        layers = [
            parts.named(_TABLE)
            .transform_filter("datum.outcome == 'reference'")
            .mark_rule(stroke=var("muted"), strokeDash=[3, 2])
            .encode(x=x),
            bounded.mark_rule(strokeWidth=1.6, stroke=var("muted")).encode(
                x=parts.same(x, "times_lo"), x2="times_hi:Q"
            ),
            known.transform_filter(f"datum.times >= {low} && datum.times <= {high}")
            .mark_point(filled=True, size=46, fill=var("ink"), opacity=1)
            .encode(x=x),
            bounded.transform_filter(f"datum.times_hi > {high}")
            .mark_point(shape="triangle-right", **arrow)
            .encode(x=alt.value(width - 3)),
            bounded.transform_filter(f"datum.times_lo < {low}")
            .mark_point(shape="triangle-left", **arrow)
            .encode(x=alt.value(3)),
            self._base.transform_filter("!isValid(datum.times)")
            .mark_text(align="right", fill=var("muted"), fontSize=10.5)
            .encode(x=alt.value(width - 2), text="times_text:N"),
        ]
        return self._layered(layers, width)


def _ink(channel: str) -> alt.ColorValue | dict:
    """Solid ink where decided; a hollow, paler mark where not."""
    hollow = var("paper") if channel == "fill" else var("open")
    return alt.condition(_HOLLOW, alt.value(hollow), alt.value(var("ink")))
