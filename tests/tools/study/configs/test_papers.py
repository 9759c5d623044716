"""Compares the papers' experiments with numbers of the papers and counted by hand."""

import collections
import types

import pytest

from clinometer.models.architectures import registry
from clinometer.tools.laws import main as laws
from clinometer.tools.laws import summary
from clinometer.tools.results import frame
from clinometer.tools.results import published
from clinometer.tools.study import main
from clinometer.tools.study import study_config
from clinometer.tools.study.configs import paper_a
from clinometer.tools.study.configs import paper_b
from clinometer.train import errors
from clinometer.train import sources

# Exact parameters of Tay et al. 2021, Tables 1, 3 and 4, worked beforehand from the
# shapes that they print, with 64 instead of 32 as d_kv up to small.
EXACT = {
    "tiny": 15_570_688,
    "mini": 31_220_480,
    "small": 60_506_624,
    "base": 222_903_552,
    "large": 737_668_096,
    "xl": 2_851_598_336,
    "xxl": 11_307_321_344,
    "xxxl": 32_924_665_344,
}
MILLIONS = {
    "NL12-XXL": 5670,
    "NL32-XL": 3791.2,
    "NL8-MI": 50.10,
    "NL16-SM": 133.93,
    "NL20-SM": 163.30,
    "NL22-SM": 177.99,
    "NL24-SM": 192.67,
    "EL32-SM": 142.32,
    "NL36-BA": 619.36,
    "NL36-LG": 1090.1,
}


def _study(module, scale="published"):
    return study_config.read(module.get_config(scale))


def _models(study):
    return [registry.parse(run.model) for run in study.runs]


def _dry_run(config, tmp_path, capsys):
    """Returns name of the run -> parameters, and the lines below the table."""
    out = tmp_path / "study"
    assert main.main(["--dry-run", "--config", config, "--out", str(out)]) == 0
    assert not out.exists()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    end = lines.index("")
    rows = [line.split() for line in lines[1 : end - 1]]
    counted = {row[0].removesuffix("-o1-s100"): row[1] for row in rows}
    return counted, " ".join(" ".join(lines[end:]).split())


def test_paper_b_prints_the_exact_parameters(tmp_path, capsys):
    rows, said = _dry_run("tools/study/configs/paper_b.py", tmp_path, capsys)
    assert len(rows) == 112
    shown = {name: rows[f"transformer-{name}"] for name in EXACT}
    assert shown == {name: f"{number:,}" for name, number in EXACT.items()}
    for name, millions in MILLIONS.items():
        number = int(rows[f"transformer-{name}"].replace(",", ""))
        assert number / 1e6 == pytest.approx(millions, rel=2e-4)  # As worked, rounded.
    assert "study on glue_superglue_squad: 112 runs of 100,000 steps" in said
    assert "on rainbow: 2 runs of 100,000 steps" in said
    assert "unknown without a topology" in said


def test_paper_b_has_every_published_model():
    models = {run.model for run in _study(paper_b).runs}
    for number in (1, 3, 4, 6):
        for model in published.of_table(number)["model"]:
            assert model in {registry.parse(name).canonical for name in models}


def test_paper_b_has_all_operators_around_three_sizes():
    found = collections.defaultdict(set)
    for name in _models(_study(paper_b)):
        if len(name.operators) == 1:
            found[name.size].add(name.operators[0][0])
    operators = {"NL", "EL", "DL", "DM", "KV", "NH", "FF", "SH", "SKV"}
    for size in ("small", "base", "large"):
        assert found[size] >= operators
    for size in ("large", "xl", "xxl", "xxxl"):
        assert "NL" in found[size]


def test_table_6_is_two_models_on_twelve_tasks():
    first, *others = _study(paper_b).protocol.finetunings
    assert first.models == ()
    table = published.of_table(6).dropna(axis="columns")
    tasks = {n.removeprefix("score_") for n in table if n.startswith("score_")}
    tasks.remove("twelve")
    tuned = {tuning.settings.mixture for tuning in others}
    rainbow = {"anli", "cosmosqa", "hellaswag", "physicaliqa", "socialiqa"}
    rainbow |= {"winogrande"}
    assert tuned == (tasks - rainbow) | {"rainbow"} and len(tasks) == 12
    for tuning in others:
        assert tuning.models == ("transformer-base", "transformer-NL24-SM")
        assert tuning.settings.learning_rate == 1e-3
        assert tuning.settings.rows == tuning.settings.examples == 128


def test_paper_a_has_twelve_architectures(tmp_path, capsys):
    rows, said = _dry_run("tools/study/configs/paper_a.py", tmp_path, capsys)
    # Five sizes of twelve and one more of vanilla, without xl of three; eight shapes of
    # four, and six of Universal.
    assert len(rows) == 12 * 5 + 1 - 3 + 4 * 8 + 6
    by_architecture = collections.Counter(name.partition("-")[0] for name in rows)
    assert by_architecture == {
        **dict.fromkeys(("switch", "performer", "funnel", "glu", "mixer"), 5),
        **dict.fromkeys(("evolved", "mos", "lconv"), 13),
        **{"transformer": 14, "universal": 10, "albert": 4, "dconv": 4},
    }
    for size in ("tiny", "mini", "small", "base", "large", "xl"):
        assert rows[f"transformer-{size}"] == f"{EXACT[size]:,}"
    # Of the appendix's formulas: the largest, which the paper rounds to 40 billion.
    numbers = {name: int(number.replace(",", "")) for name, number in rows.items()}
    assert max(numbers, key=numbers.get) == "switch-xl"
    assert numbers["switch-xl"] == pytest.approx(40.7e9, rel=1e-3)
    assert "Note: switch-xl: the largest Switch; the authors call" in said


def test_universal_is_widened_to_32k_and_repeated():
    own = [m for m in _models(_study(paper_a)) if m.architecture == "universal"]
    values = {operator: value for m in own for operator, value in m.operators}
    assert set(values) == {"NL", "FF"}
    assert max(v for m in own for o, v in m.operators if o == "FF") == 32 * 1024


def test_depth_and_width_of_four_at_base():
    for name in ("transformer", "mos", "evolved", "lconv"):
        own = [m for m in _models(_study(paper_a)) if m.architecture == name]
        shapes = collections.Counter(o for m in own for o, _ in m.operators)
        assert shapes == {"NL": 4, "FF": 4}
        assert {m.size for m in own if m.operators} == {"base"}


@pytest.mark.parametrize("module", [paper_a, paper_b])
def test_both_have_the_papers_protocol(module):
    study = _study(module)
    protocol, downstream = study.protocol, study.protocol.downstream
    assert (protocol.kind, protocol.vocab_size) == ("papers", 32_128)
    assert protocol.train_steps == 2**19 and protocol.batch_size == 128
    assert (protocol.encoder_length, protocol.dropout_rate) == (512, 0.1)
    assert (study.learning_rate, downstream.learning_rate) == (1.0, 1e-3)
    assert (downstream.train_steps, downstream.decoder_length) == (100_000, 114)
    assert len({run.name for run in study.runs}) == len(study.runs)


@pytest.mark.parametrize(("module", "runs"), [(paper_a, 34), (paper_b, 16)])
def test_laptop_versions_have_the_same_parts(module, runs):
    laptop, full = (_study(module, scale) for scale in ("laptop", "published"))
    assert len(laptop.runs) == runs
    assert laptop.architectures == full.architectures
    assert laptop.protocol.kind == "short"
    assert bool(laptop.notes) == bool(full.notes)
    assert bool(laptop.protocol.further) == bool(full.protocol.further)
    operators = [
        {operator for name in _models(study) for operator, _ in name.operators}
        for study in (laptop, full)
    ]
    assert operators[0] == operators[1]
    # Some model is trained in two orders, which gives the error.
    counts = collections.Counter(run.model for run in laptop.runs)
    assert max(counts.values()) == 2


def test_an_unknown_scale_names_the_known():
    for module in (paper_a, paper_b):
        with pytest.raises(errors.ConfigError, match="'big' .* published, laptop"):
            module.get_config("big")


def test_the_papers_protocol_needs_a_store(tmp_path, capsys, monkeypatch):
    given = ["--config", "tools/study/configs/paper_a.py", "--downstream", ""]
    given += ["--out", str(tmp_path / "study")]
    assert main.main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.store: none; the papers' protocol needs a token store" in line
    vocabulary = types.SimpleNamespace(padded_size=lambda multiple: 16 * multiple)
    store = types.SimpleNamespace(vocabulary=vocabulary)
    monkeypatch.setattr(sources, "open_store", lambda *_: store)
    assert main.main([*given, "--store", "mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.protocol.vocab_size: 32128, but models on" in line
    assert "mine have 2048, its ids rounded up" in line


# The fewest models that have the parts of each: replicates, an operator, and, of the
# second, a further fine-tuning.
_SHORT = {
    "paper_a": """
    config.architectures = ("transformer", "performer")
    with config.unlocked():
        config.design.by_architecture = {"performer": {"sizes": ("pico",)}}
    config.sizes, config.design.orders = ("pico", "NL4-PI"), (2,)
""",
    "paper_b": """
    config.sizes, config.design.orders = ("pico", "NL4-PI"), (2, 1)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _SHORT)
def test_a_shortened_laptop_version_runs_to_its_claims(name, tmp_path, capsys):
    config = tmp_path / "short.py"
    config.write_text(
        f"from clinometer.tools.study.configs import {name}\n\n\n"
        f"def get_config():\n    config = {name}.get_config('laptop')"
        f"{_SHORT[name]}    return config\n"
    )
    out = tmp_path / "study"
    given = ["--config", str(config), "--out", str(out), "--jobs", "1"]
    assert main.main([*given, "--steps", "6", "--downstream-steps", "2"]) == 0
    assert (out / "report.html").is_file()
    runs = frame.read(out)
    assert len(runs) == 3 + 3 * (name == "paper_a")
    assert runs["score_cloze"].notna().all() and runs["left_out"].isna().all()
    if name == "paper_b":
        scored = runs.dropna(subset="score_acceptability")
        assert set(scored["model"]) == {"transformer-NL4-PI"}
        assert scored["score_same_document"].notna().all()
    capsys.readouterr()
    assert laws.main([str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for claim in summary.CLAIMS:
        assert claim.statement in said
    assert said.count("(judged afterwards)") == len(summary.CLAIMS)
