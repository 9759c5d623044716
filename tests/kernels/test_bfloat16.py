"""Tests which processors multiply bfloat16."""

import pytest

from clinometer.kernels.cpu import bfloat16


@pytest.fixture
def is_multiplied(monkeypatch, tmp_path):
    """Returns the answer for a file that describes processors, or for none."""

    def answer(text):
        path = tmp_path / "cpuinfo"
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(bfloat16, "_CPU_INFO", path)
        return bfloat16.is_multiplied.__wrapped__()

    return answer


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 fma", False),
        ("fpu avx512f avx512_bf16", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx512_bf16_like", False),
        ("", False),
    ],
)
def test_flags(is_multiplied, flags, expected):
    text = f"processor\t: 0\nmodel name\t: avx512_bf16\nflags\t\t: {flags}\n\n"
    assert is_multiplied(2 * text) == expected


def test_without_flags_or_file(is_multiplied):
    assert not is_multiplied("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert not is_multiplied("")


def test_without_a_file(is_multiplied):
    assert not is_multiplied(None)
