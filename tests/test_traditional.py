"""From Simplified to Traditional: the glossary's forms, what is left alone, and a notebook as a whole."""

import copy
import json
import re
from pathlib import Path

import pytest

from insidegpt.site.editions import language, source
from insidegpt.site.traditional import converter, glossary_forms, in_traditional

GLOSSARY = Path(__file__).parent.parent / "book" / "glossary.ipynb"


@pytest.fixture(scope="module")
def convert():
    return converter(GLOSSARY)


def test_every_entry_of_the_glossary_is_read():
    notebook = json.loads(GLOSSARY.read_text("utf8"))
    chinese = "\n".join(source(cell) for cell in notebook["cells"] if language(cell) == "zh")
    assert set(re.findall(r"^(\S.*)\n  ", chinese, re.M)) <= set(glossary_forms(notebook))


def test_a_term_becomes_the_first_form_that_the_glossary_lists(convert):
    for term, form in glossary_forms(json.loads(GLOSSARY.read_text("utf8"))).items():
        assert convert(term) == form, term


def test_the_glossary_comes_before_the_phrases_of_opencc(convert):
    assert (
        convert("因果掩码、前缀语言模型、模型的参数、数据与内存") == "因果遮罩、前綴語言模型、模型的參數、資料與記憶體"
    )


def test_rows_are_列_columns_欄_and_a_line_of_code_stays_行(convert):
    rows = "行向量、第 $i$ 行、各行之和、`x` 的行、十二行三列，行是查询，列是键"
    assert convert(rows) == "列向量、第 $i$ 列、各列之和、`x` 的列、十二列三欄，列是查詢，欄是鍵"
    assert convert("运行几行代码，第二行输出；行不通、行走者、序列、列出、各列一次") == (
        "執行幾行程式碼，第二行輸出；行不通、行走者、序列、列出、各列一次"
    )


@pytest.mark.parametrize(
    ("simplified", "traditional"),
    [
        ("窗口里的一个单元格返回兆字节数", "視窗裡的一個儲存格回傳 MB 數"),
        ("库里的函数与非线性函数", "函式庫裡的函式與非線性函數"),
        ("在计算机上记账的计算机制", "在電腦上記帳的計算機制"),
        ("检验猜想；各次检验相互独立", "檢驗猜想；各次檢定相互獨立"),
        ("终端里的代词与替代词元", "終端機裡的代名詞與替代詞元"),
    ],
)
def test_words_are_those_of_taiwan_where_their_neighbours_say_so(convert, simplified, traditional):
    assert convert(simplified) == traditional


def test_an_entry_of_the_glossary_does_not_repeat_its_heading(convert):
    text = "掩码\n  谁看谁（mask；遮罩）。\n\n激活值\n  一个数（activation；啟動值、激活值）。\n\n键\n  数（key；鍵）。"
    cell = {"metadata": {"tags": ["lang-zh"]}, "source": text}
    made = in_traditional({"cells": [cell]}, convert)["cells"][0]["source"]
    assert re.findall(r"（.*?）", made) == ["（mask）", "（activation；激活值）", "（key）"]


def test_a_reference_and_the_term_that_it_names_stay_alike(convert):
    assert convert("{term}`分数 <注意力分数>`，{term}`掩码`") == "{term}`分數 <注意力分數>`，{term}`遮罩`"


@pytest.mark.parametrize(
    "kept",
    [
        "`掩码`",
        "``掩`码``",
        r"$P_\text{掩码}$",
        "$$\n\\text{掩码}\n$$",
        "```\n掩码\n```",
        "[x](掩码.html)",
        "{ref}`sec-mask`",
        "(sec-mask)=",
    ],
)
def test_code_maths_labels_and_targets_of_links_are_left_alone(convert, kept):
    assert convert(f"{kept}\n") == f"{kept}\n"


def test_text_inside_a_directive_is_converted(convert):
    assert convert("```{note}\n隐藏状态\n```") == "```{note}\n隱藏狀態\n```"


def test_words_that_opencc_cuts_in_two_are_mended(convert):
    assert convert("文本里最大只能存两只，共十公里，在词元后面") == "文本裡最大只能存兩隻，共十公里，在詞元後面"


def test_quotation_marks_are_those_of_taiwan(convert):
    assert convert("“问‘谁’”") == "「問『誰』」"


def test_only_the_chinese_of_a_notebook_is_converted(convert):
    def cell(text, *tags, **metadata):
        return {"metadata": {"tags": list(tags)} | metadata, "source": text}

    figure = {"figure": {"name": "fig-x", "caption": "两个词"}, "image": {"alt": "图"}}
    notebook = {"cells": [cell("a “word”", "lang-en"), cell("一个词", "lang-zh"), cell("print('词')", mystnb=figure)]}
    before = copy.deepcopy(notebook)
    made = in_traditional(notebook, convert)["cells"]
    assert [c["source"] for c in made] == ["a “word”", "一個詞", "print('词')"]
    assert made[2]["metadata"]["mystnb"] == {
        "figure": {"name": "fig-x", "caption": "兩個詞"},
        "image": {"alt": "圖"},
    }
    assert notebook == before
