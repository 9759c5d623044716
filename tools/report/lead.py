"""The lead of a study's page: what was found, and what the runs cannot say."""

from collections.abc import Sequence
import dataclasses
import statistics
from typing import Any

from clinometer.models.architectures import registry
from clinometer.tools.laws import left_out
from clinometer.tools.report import fewshot
from clinometer.tools.report import formats
from clinometer.tools.report import limits as limits_lib
from clinometer.tools.report import selection
from clinometer.tools.report import theme
from clinometer.tools.report.tables import architecture_table
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.tools.report.tables import study_tables
from clinometer.tools.study.claims import claim

_SHOTS = 10  # Whose accuracy Tay et al. 2021 report.
# Claims that have room beside the figure of the lead.
_BESIDE = 8
# Said of a study without claims.
DEMONSTRATION = (
    "No claims were written down before the runs, so this is a demonstration. "
    "Intervals cover other initializations of these models in the same orders of the "
    "data: not another text, protocol or number of steps, and not the choice of the "
    "learning rates."
)
_WORDS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven"),
    *("eight", "nine", "ten", "eleven", "twelve"),
)


@dataclasses.dataclass(frozen=True)
class Statement:
    """A claim, or a finding, with what the runs say about it.

    Attributes:
        verdict: a word such as "supported" or "seen".
        text: the statement.
        numbers: what it was decided by.
        reason: why it is undecided, or "".
    """

    verdict: str
    text: str
    numbers: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Lead:
    """The lead of the page.

    Attributes:
        kicker: how many runs finished.
        missing: what an unfinished folder lacks; "" if nothing.
        headline: the main finding.
        stand: sentences below it.
        held_out: what laws said of sizes that they had not seen; "" if nothing.
        papers: how the claims of the papers fare, judged afterwards; "" without laws.
        decided: those of them that the runs support or contradict.
        claimed: whether the statements are claims written before the runs.
        statements: claims with their verdicts, or what was found.
        tally: the number of claims of each verdict, where they are too many to stand
            beside the figure; else empty.
        limits: what the runs cannot say.
    """

    kicker: str
    missing: str
    headline: str
    stand: str
    held_out: str
    papers: str
    decided: tuple[Statement, ...]
    claimed: bool
    statements: tuple[Statement, ...]
    tally: tuple[tuple[str, int], ...]
    limits: tuple[limits_lib.Limit, ...]


def make(sources: sources_lib.Sources, tables: study_tables.StudyTables) -> Lead:
    """Returns the lead of a study's page."""
    rows = tables["architectures"]
    found = tuple(
        Statement(
            one.verdict.outcome.value,
            one.claim.statement,
            one.numbers,
            one.verdict.reason,
        )
        for one in sources.claims
    )
    return Lead(
        kicker=_kicker(sources),
        missing=_missing(sources),
        headline=_headline(sources, rows),
        stand=_stand(sources, tables),
        held_out=_held_out(tables),
        papers=_papers(sources),
        decided=tuple(_decided(sources)),
        claimed=bool(found),
        statements=found or tuple(_found(sources, rows)),
        tally=_tally(found) if len(found) > _BESIDE else (),
        limits=tuple(limits_lib.make(sources, rows)),
    )


def _tally(claims: Sequence[Statement]) -> tuple[tuple[str, int], ...]:
    verdicts = [one.verdict for one in claims]
    return tuple((each.value, verdicts.count(each.value)) for each in claim.Outcome)


def counted(number: int, total: int | None = None) -> str:
    """Returns a number in words, up to twelve: "three", or "three of eleven"."""
    word = _WORDS[number] if number < len(_WORDS) else str(number)
    if total is None:
        return word
    return f"{word if number else 'none'} of {counted(total)}"


def _statuses(sources: sources_lib.Sources) -> list[str]:
    found = [row["status"] for row in sources.rows]
    return found + ["without a record"] * len(sources.lost)


def _kicker(sources: sources_lib.Sources) -> str:
    statuses = _statuses(sources)
    others = "".join(
        f", {statuses.count(status)} {status}"
        for status in dict.fromkeys(statuses)
        if status != "finished"
    )
    texts = [row for row in sources.rows if not selection.is_of_images(row)]
    first = texts[0] if texts else sources.rows[0]
    models = len({row["model"] for row in sources.rows})
    begun = (
        f"{statuses.count('finished')} of {len(statuses)} runs finished{others}, of "
        f"{models} models, pretrained"
    )
    steps = f"for {_lengths(sources)} steps with {first['batch_size']}"
    if not texts:
        return f"{begun} to classify images {steps} images per batch"
    length = f"{first['encoder_length']}/{first['decoder_length']}"
    return (
        f"{begun} by span corruption {steps} sequences of {length} tokens "
        "(encoder/decoder) per batch"
    )


def _steps(sources: sources_lib.Sources) -> list[int]:
    """Returns the lengths of the runs, in steps."""
    return sorted({row["train_steps"] for row in sources.rows if row["train_steps"]})


def _lengths(sources: sources_lib.Sources) -> str:
    steps = _steps(sources)
    if len(steps) < 2:
        return f"{steps[0]:,}" if steps else "unknown"
    return f"{steps[0]:,} to {steps[-1]:,}"


def _missing(sources: sources_lib.Sources) -> str:
    """Says which runs did not finish, by model."""
    models: dict[tuple[str, str], int] = {}
    for row in sources.rows:
        if row["status"] != "finished":
            key = row["model"], row["status"]
            models[key] = models.get(key, 0) + 1
    if not models and not sources.lost:
        return ""
    parts = [f"{name} ({n} {status})" for (name, status), n in sorted(models.items())]
    parts += [f"{name} (no record)" for name in sources.lost]
    more = f" and {len(parts) - 12} more" if len(parts) > 12 else ""
    return f"{', '.join(parts[:12])}{more}"


def _headline(sources: sources_lib.Sources, rows: Sequence[dict[str, Any]]) -> str:
    pairs = _fewshot(sources) if selection.unit(sources.rows) == "image" else []
    if pairs:
        clear = sum(one.low is not None and one.low * one.high > 0 for one in pairs)
        if len(pairs) == 1:
            tail = "differ" if clear else "are not told apart"
            return f"Two models’ few-shot accuracies {tail}"
        first = counted(clear, len(pairs)).capitalize()
        verb = "differ" if clear > 1 else "differs"
        return f"{first} pairs of models {verb} in few-shot accuracy"
    compared = architecture_table.compared(rows)
    outcomes = [row["outcome"] for row in compared]
    if compared and any(outcomes):
        less, more = outcomes.count("worse"), outcomes.count("better")
        noun = "alternatives" if len(compared) > 1 else "alternative"
        if not less and not more:
            return (
                f"No difference of gain from vanilla is shown: {len(compared)} {noun} "
                "compared"
            )
        if len(compared) == 1:
            which = "less" if less else "more"
            return f"{compared[0]['label']} gains {which} from compute than vanilla"
        first = counted(less, len(compared)).capitalize()
        gains = "gain" if less > 1 else "gains"
        tail = f"{counted(more) if more else 'none'} {'gain' if more > 1 else 'gains'}"
        return f"{first} {noun} {gains} less from compute than vanilla; {tail} more"
    gains = [gain for gain in sources.findings.gains if gain.gain is not None]
    if not gains:
        done = any(row["status"] == "finished" for row in sources.rows)
        if not done:
            return "No run has finished yet"
        lengths = len(_steps(sources))
        if lengths > 1:
            return (
                f"Runs of {counted(lengths)} lengths: losses change with size and with "
                "length, so no gain of size alone is told"
            )
        return "No gain can be told yet"
    if len(gains) == 1:
        (gain,) = gains
        smallest, largest = (end.name for end in gain.ends)
        fall = "falls" if gain.gain.value > 0 else "does not fall"
        return (
            f"{_name(gain.architecture, 'Vanilla')}’s loss {fall} from {smallest} to "
            f"{largest}: by {formats.signed(gain.gain.value)} nats"
        )
    return f"{len(gains)} architectures gain with size; none is compared with vanilla"


def _name(architecture: str, reference: str) -> str:
    """Returns an architecture's name for readers; `reference` for that of vanilla."""
    return (
        reference if architecture == registry.REFERENCE else theme.label(architecture)
    )


def _stand(sources: sources_lib.Sources, tables: study_tables.StudyTables) -> str:
    """Says the reference's gain per tenfold FLOPs, over which range."""
    gains = [gain for gain in sources.findings.gains if gain.per_decade is not None]
    gain = next((g for g in gains if g.architecture == registry.REFERENCE), None)
    gain = gain or (gains[0] if gains else None)
    if gain is None:
        return ""
    interval = "without an interval: the error between runs is unknown"
    if gain.per_decade.low is not None:
        shown = formats.interval(gain.per_decade.low, gain.per_decade.high)
        interval = f"95 % interval {shown}"
    smallest, largest = gain.ends
    name = _name(gain.architecture, "vanilla")
    return (
        f"From {smallest.name} to {largest.name}, {largest.flops / smallest.flops:.0f} "
        f"times the training FLOPs, {name} gains "
        f"{formats.signed(gain.per_decade.value)} nats per "
        f"{selection.unit(sources.rows)} for each tenfold ({interval})."
    )


def _held_out(tables: study_tables.StudyTables) -> str:
    """Says how far laws missed the largest sizes, which they had not seen."""
    told, sizes = [], 0
    for law, name in (
        (left_out.POWER, "a power law with a floor"),
        (left_out.LINE, "the straight line"),
    ):
        rows = [row for row in tables["held_out"] if row["law"] == law]
        errors = [abs(row["error"]) for row in rows]
        if len(errors) == 1:
            shown = formats.signed(rows[0]["error"])
            told.append(f"{name} misses it by {shown} nats")
        elif errors:
            middle, most = statistics.median(errors), max(errors)
            told.append(
                f"{name} misses by {middle:.3f} nats in the median and {most:.3f} at "
                "most"
            )
        sizes = max(sizes, len(errors))
    if not told:
        return ""
    if not any(row["law"] == left_out.POWER for row in tables["held_out"]):
        told.append("sizes are too few to ask a power law with a floor")
    whose = "its" if sizes == 1 else f"the {counted(sizes)} architectures’"
    noun = "size" if sizes == 1 else "sizes"
    return (
        f"Fitted without {whose} largest {noun} and asked for "
        f"{'it' if sizes == 1 else 'them'}, {'; '.join(told)}."
    )


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ", error unknown"
    return f" [{formats.signed(low, 1)}, {formats.signed(high, 1)}]"


def _papers(sources: sources_lib.Sources) -> str:
    """Counts the verdicts on the papers' claims."""
    if sources.laws is None or not sources.laws.claims:
        return ""
    outcomes = [one.verdict.outcome.value for one in sources.laws.claims]
    told = ", ".join(f"{outcomes.count(word)} {word}" for word in sorted(set(outcomes)))
    return (
        f"Of the papers’ {len(outcomes)} claims, judged afterwards, these runs leave "
        f"{told}."
    )


def _decided(sources: sources_lib.Sources) -> list[Statement]:
    """Returns the papers' claims that are not undecided."""
    judged = () if sources.laws is None else sources.laws.claims
    made = []
    for one in judged:
        if one.verdict.outcome is not claim.Outcome.UNDECIDED:
            told = one.verdict.reason or ", ".join(one.verdict.shown[:2])
            text = one.claim.statement.rstrip(".")
            shown = theme.labelled(told)
            made.append(Statement(one.verdict.outcome.value, text, shown))
    return made


def _fewshot(sources: sources_lib.Sources) -> list[fewshot.Estimate]:
    found = fewshot.differences(sources.fewshot)
    return [one for one in found if one.shots == _SHOTS]


def _found(
    sources: sources_lib.Sources, rows: Sequence[dict[str, Any]]
) -> list[Statement]:
    """Returns what was found, where no claims were written down."""
    made = [
        Statement(
            "undecided" if one.low is None or one.low <= 0 <= one.high else "seen",
            f"Few-shot accuracy differs, with {_SHOTS} images of each class",
            f"{one.model} less {one.less}: {formats.signed(one.value, 1)} points"
            + _interval(one.low, one.high),
        )
        for one in _fewshot(sources)
    ]
    steps = sources.findings.steps
    clear = [step for step in steps if step.clear]
    if steps:
        known = any(step.clear is not None for step in steps)
        made.append(
            Statement(
                "seen" if len(clear) == len(steps) else "undecided",
                "Every size is better than the one before",
                f"{len(clear)} of {len(steps)} steps are clear of 0"
                if known
                else f"{len(steps)} steps, error unknown",
            )
        )
    compared = architecture_table.compared(rows)
    if compared:
        words = architecture_table.WORDS
        counts = {
            said: sum(row["outcome_text"] == said for row in compared)
            for said in words.values()
        }
        told = ", ".join(f"{n} {said}" for said, n in counts.items() if n)
        decided = all(r["outcome"] in architecture_table.DECIDED for r in compared)
        made.append(
            Statement(
                "seen" if decided else "undecided",
                "Others gain from compute otherwise than vanilla",
                told,
            )
        )
        better = [r["label"] for r in compared if r["level_outcome"] == "better"]
        worse = [r["label"] for r in compared if r["level_outcome"] == "worse"]
        made.append(
            Statement(
                "seen" if better or worse else "undecided",
                "Losses differ at equal training FLOPs",
                f"better than vanilla: {', '.join(better) or 'none'}; worse: "
                f"{', '.join(worse) or 'none'}",
            )
        )
        changes = [
            one
            for one in sources.findings.compared
            if one.crossing is not None and one.crossing.low * one.crossing.high < 0
        ]
        sure = [one for one in changes if one.crossing.p_value <= 0.05]
        made.append(
            Statement(
                "seen" if sure else "undecided",
                "Architectures change places with scale",
                f"{len(changes)} change sign against vanilla between the ends, "
                f"{len(sure)} beyond error",
            )
        )
    return made
