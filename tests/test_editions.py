"""One bilingual notebook, the editions: what `select` makes of its cells."""

from insidegpt.site.editions import EDITIONS, in_one_language, select, titles


def cell(text, lang=None, **metadata):
    return {
        "cell_type": "markdown" if lang or metadata.get("shared") else "code",
        "metadata": {"tags": [f"lang-{lang}"] if lang else []} | metadata,
        "source": text,
    }


def notebook(*cells):
    return {"cells": list(cells)}


PAIR = (
    cell("(sec-cost)=\n## Cost\n\nIt grows, see {ref}`sec-cost` and {numref}`fig-cost`.", "en"),
    cell("(sec-cost)=\n## 代价\n\n随长度增长，见 {ref}`sec-cost` 与 {numref}`fig-cost`。", "zh"),
)


def shown(nb):
    return [c["source"] for c in nb["cells"] if "remove-cell" not in c["metadata"]["tags"]]


def test_each_language_gets_its_own_cells_and_the_shared_ones():
    nb = notebook(*PAIR, cell("x = 1"))
    assert shown(select(nb, EDITIONS["en"])) == [PAIR[0]["source"], "x = 1"]
    assert shown(select(nb, EDITIONS["zh"])) == [PAIR[1]["source"], "x = 1"]


def test_hidden_cells_stay_in_place_so_that_warnings_name_the_right_cell():
    assert len(select(notebook(*PAIR), EDITIONS["zh"])["cells"]) == 2


def test_both_languages_share_one_heading_and_keep_their_lang():
    first, second = (c["source"] for c in select(notebook(*PAIR), EDITIONS["en-zh"])["cells"])
    assert first.startswith("(sec-cost)=\n## Cost\N{NO-BREAK SPACE}· 代价\n")
    assert '<div class="half-en" lang="en">' in first and "It grows" in first
    assert '<div class="half-zh" lang="zh-CN">' in second and "随长度增长" in second
    assert "sec-cost)=" not in second, "the label would be defined twice"


def test_the_facts_under_a_title_are_one_line_and_no_half_begins_with_them():
    texts = {"en": ("# Cost", "3 minutes", "It grows."), "zh": ("# 代价", "3 分钟", "随长度增长。")}
    pair = [
        cell(f'{title}\n\n<p class="page-facts">{facts}</p>\n\n{text}', lang)
        for lang, (title, facts, text) in texts.items()
    ]
    first, second = (c["source"] for c in select(notebook(*pair), EDITIONS["en-zh"])["cells"])
    assert first.startswith(
        '# Cost\N{NO-BREAK SPACE}· 代价\n\n<p class="page-facts">3 minutes · 3 分钟</p>\n\n<div class="pair">'
    )
    assert "It grows." in first and "随长度增长。" in second and "page-facts" not in second


def test_references_read_in_the_language_of_their_half():
    nb = notebook(*PAIR)
    both = select(nb, EDITIONS["en-zh"], titles(nb, "book/page"))
    first, second = (c["source"] for c in both["cells"])
    assert "{ref}`Cost <sec-cost>`" in first and "{numref}`fig-cost`" in first
    assert "{ref}`代价 <sec-cost>`" in second and "{numref}`图 {number} <fig-cost>`" in second


def test_boxes_are_titled_in_the_language_of_their_half():
    nb = notebook(cell(":::{note}\nA word.\n:::", "en"), cell(":::{note}\n一句话。\n:::", "zh"))
    first, second = (c["source"] for c in select(nb, EDITIONS["en-zh"])["cells"])
    assert ":::{note}" in first
    assert ":::{admonition} 备注\n:class: note\n一句话。" in second


def test_a_glossary_in_both_languages_stands_entry_by_entry():
    english = "Terms.\n\n:::{glossary}\nmask\n  What hides.\n\nkey\n  What is found.\n:::"
    chinese = "术语。\n\n:::{glossary}\n掩码\n  遮住的。\n\n键\n  被找到的。\n:::"
    both = "".join(shown(select(notebook(cell(english, "en"), cell(chinese, "zh")), EDITIONS["en-zh"])))
    words = ("Terms", "术语", "mask", "掩码", "key\n", "键")
    assert [word for _, word in sorted((both.index(word), word) for word in words)] == list(words)
    assert both.count('<div class="pair">') == both.count("half-zh") == 3


def test_captions_and_alternative_texts_follow_the_edition():
    texts = {"caption": {"en": "Growth.", "zh": "增长。"}, "alt": {"en": "A curve", "zh": "一条曲线"}}
    nb = notebook(cell("plot()", mystnb={"figure": {"name": "fig-cost"}}, i18n=texts))

    def options(edition):
        made = select(nb, EDITIONS[edition])["cells"][0]["metadata"]["mystnb"]
        return made["figure"]["caption"], made["image"]["alt"]

    assert options("en") == ("Growth.", "A curve")
    assert options("zh") == ("增长。", "一条曲线")
    assert options("en-zh") == ("Growth.\n\n增长。", "A curve 一条曲线")


def test_the_notebook_given_is_not_changed():
    nb = notebook(*PAIR)
    before = repr(nb)
    select(nb, EDITIONS["en-zh"], titles(nb, "book/page"))
    assert repr(nb) == before


def test_a_download_holds_one_language():
    nb = in_one_language(notebook(*PAIR, cell("x = 1")), "zh")
    assert [c["source"] for c in nb["cells"]] == [PAIR[1]["source"], "x = 1"]


def test_a_page_is_titled_by_its_first_heading():
    nb = notebook(cell("(ch-a)=\n# Attention", "en"), cell("(ch-a)=\n# 注意力", "zh"))
    assert titles(nb, "book/attention")["/book/attention"] == {"en": "Attention", "zh": "注意力"}
