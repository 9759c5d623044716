"""Tests that the documents and sections that files refer to exist."""

from collections.abc import Iterable
from collections.abc import Mapping
import pathlib
import re

import pytest

from clinometer.tests import tracked

# NAME.md#section, or #section within a Markdown file.
CITATION = re.compile(r"([\w./-]*\w\.md)#([\w-]+)")
LINK = re.compile(r"\]\(#([\w-]+)\)")
# References to documents that are not in the repository.
NOWHERE = re.compile(
    r"\bspec(?:ification)?,? *§|§ *\d|\bspec \d+\.\d|\bissue #?\d"
    r"|\b(?:layout|kernels|engineering|style)\.md\b|\bpapers? [AB]\b",
    re.IGNORECASE,
)
THIS = "tests/test_references.py"


def slug(heading: str) -> str:
    """Returns the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def sections(text: str) -> set[str]:
    """Returns the anchors of the headings in a Markdown text."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {slug(found) for found in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def dead(files: Mapping[str, str]) -> Iterable[str]:
    """Yields the references to documents or sections that don't exist.

    Args:
        files: path -> text.
    """
    anchors = {
        name: sections(text) for name, text in files.items() if name.endswith(".md")
    }
    for name, text in files.items():
        yield from (f"{name}: {found[0]}" for found in NOWHERE.finditer(text))
        for cited, section in CITATION.findall(text):
            path = re.sub(r"^(\.\./)+", "", cited)
            found = [here for here in anchors if f"/{here}".endswith(f"/{path}")]
            if not any(section in anchors[here] for here in found):
                yield f"{name}: {cited}#{section}"
        if name in anchors:
            for section in set(LINK.findall(text)) - anchors[name]:
                yield f"{name}: #{section}"


def texts(root: pathlib.Path) -> dict[str, str]:
    """Returns path -> text of the tracked text files."""
    contents = {name: (root / name).read_bytes() for name in tracked.names(root)}
    return {n: c.decode() for n, c in contents.items() if b"\0" not in c and n != THIS}


def test_every_citation_leads_somewhere(repo_root):
    assert list(dead(texts(repo_root))) == []


@pytest.mark.parametrize(
    "text",
    [
        "T5's (spec §1.6)",
        "as in issue 5",
        "see layout.md",
        "of paper A",
        "ARCHITECTURES.md#no-such-section",
        "OTHER.md#switch-routing",
    ],
)
def test_a_dead_citation_is_seen(text):
    document = "# Switch\n\n### Switch: routing\n\n```\n# no-such-section\n```\n"
    files = {"models/ARCHITECTURES.md": document, "a.py": text}
    assert len(list(dead(files))) == 1


def test_others_are_left_alone():
    document = "# Switch\n\n[routing](#switch-routing)\n\n### Switch: `routing`\n"
    files = {
        "models/ARCHITECTURES.md": document,
        "a.py": "ARCHITECTURES.md#switch-routing, models/ARCHITECTURES.md#switch",
        "b.py": "kernels/README.md, BlockSpec, issues 5 warnings",
    }
    assert list(dead(files)) == []
