"""Tests that train/ and tools/ don't depend on the names of architectures."""

import ast

import pytest

from clinometer.models.architectures import registry
from clinometer.tools.bazel import source_tree

# File -> why it may name one.
ALLOWED = {
    "train/configs/pretrain.py": "default of a configuration",
    "train/configs/finetune.py": "default of a configuration",
    "tools/study/configs/study.py": "default of a configuration",
    "tools/study/configs/first_study.py": "a study of these architectures",
    "tools/study/configs/first_study_claims.py": "claims about them",
    "tools/study/configs/first_study_d256.py": "a part of this study",
    "tools/study/configs/first_study_pilot.py": "its pilot",
    "tools/study/configs/paper_a.py": "a study of these architectures",
    "tools/study/configs/paper_b.py": "a study of shapes of vanilla",
    "tools/study/claims/paper_a.py": "claims about them",
    "tools/study/power/settings.py": "default of a configuration",
    "tools/released/hf_config.py": "the architectures that Hugging Face has",
}


def named(source: str) -> list[str]:
    """Returns the strings of a file that are names of architectures or models."""
    strings = (
        node.value.lower()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return [
        string
        for string in strings
        if string in registry.ARCHITECTURES
        or string.startswith(tuple(f"{name}-" for name in registry.ARCHITECTURES))
    ]


def test_trainer_and_tools_name_no_architecture(repo_root):
    found = {
        name
        for name in source_tree.python_files(repo_root, ("train", "tools"))
        if named((repo_root / name).read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    ['x = {"switch": 1}', 'if name.startswith("Mixer-"): pass', 'f"universal-{size}"'],
)
def test_a_name_is_found(line):
    assert named(line)


def test_words_and_kernels_are_no_names():
    assert not named('"""Transformers."""\nops = ["switch_route", "the mixer"]')
