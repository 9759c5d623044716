"""Names of downstream scores for readers, such as SuperGLUE, and their order.

Files and options keep the names of `data/tasks`; everything that is read has these.
"""

from clinometer.data.mixtures import aggregates

_LABELS = {
    "acceptability": "Acceptability",
    "anli": "aNLI",
    "avg": "Average",
    "boolq": "BoolQ",
    "cb": "CB",
    "civil_comments": "CivilComments",
    "cloze": "Cloze",
    "cnn_dailymail": "CNN/DailyMail",
    "cola": "CoLA",
    "copa": "COPA",
    "cosmosqa": "CosmosQA",
    "dpr": "DPR",
    "glue": "GLUE",
    "hellaswag": "HellaSwag",
    "imagenet_10shot": "ImageNet, 10-shot",
    "imdb": "IMDb",
    "mnli": "MNLI",
    "mrpc": "MRPC",
    "multi_news": "Multi-News",
    "multirc": "MultiRC",
    "physicaliqa": "PhysicalIQA",
    "probes": "Probes",
    "qnli": "QNLI",
    "qqp": "QQP",
    "rainbow": "Rainbow",
    "record": "ReCoRD",
    "rte": "RTE",
    "same_document": "Same document",
    "socialiqa": "SocialIQA",
    "squad": "SQuAD",
    "sst2": "SST-2",
    "stsb": "STS-B",
    "superglue": "SuperGLUE",
    "superglue_rte": "SuperGLUE RTE",
    "twelve": "Twelve tasks",
    "wic": "WiC",
    "wiki_toxicity": "Wiki Toxicity",
    "winogrande": "WinoGrande",
    "wnli": "WNLI",
    "wsc": "WSC",
    "xsum": "XSum",
}
_AVERAGES = (*aggregates.AVERAGES, aggregates.OVERALL_NAME)


def label(name: object) -> str:
    """Returns the name of a score for readers.

    Args:
        name: a task or an average; as a column, such as "score_superglue"; or with its
            metric, such as "rte, likelihood".
    """
    task, comma, metric = str(name).removeprefix("score_").partition(", ")
    return f"{_LABELS.get(task, task.replace('_', ' '))}{comma}{metric}"


def order(name: object) -> tuple[bool, str]:
    """Returns what scores sort by: averages first, a likelihood after its score."""
    task = str(name).partition(", ")[0]
    return task not in _AVERAGES, str(name)
