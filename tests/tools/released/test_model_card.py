"""The model card of a run that was trained here, and of its study."""

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.released import model_card
from clinometer.tools.released import study_line
from clinometer.train.run import record as run_record


def test_counts_data_metrics_and_study():
    contents = synthetic_study.record("milli")
    record = run_record.from_json(contents)
    study = study_line.StudyLine("ladder", "Its 4 sizes gain.")
    facts = model_card.Facts("milli-s0", 600, True, ["A remark."], study)
    card = model_card.text(record, facts)
    for line in (
        "library_name: transformers",
        "# transformer-milli",
        "from the run `milli-s0` at step 600.",
        "A remark.",
        f"| parameters | {contents['counts']['params_total']:,} |",
        "- steps: 600 with adafactor, seed 0",
        f"validation loss: {contents['metrics']['validation/loss']:.4f} nats",
        "The run is part of the study `ladder`. Its 4 sizes gain.",
    ):
        assert line in card, line
    assert "A remark." not in model_card.text(
        record, model_card.Facts("milli-s0", 600, True, [], None)
    )
