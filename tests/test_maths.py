"""Formulas are typeset at build time, and a formula that cannot be read is told."""

import pytest

from insidegpt.site.maths import typeset


def test_a_formula_becomes_html_for_eyes_and_mathml_for_screen_readers():
    html = typeset(r"\frac{QK^\top}{\sqrt{d_k}}", display=True)
    assert 'class="katex-display"' in html and "<math" in html and "<mfrac>" in html


def test_a_broken_formula_is_named_with_its_fault():
    with pytest.raises(ValueError, match=r"KaTeX parse error: .*Unexpected end of input"):
        typeset(r"\frac{1", display=False)
