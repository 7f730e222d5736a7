"""In which language each passage of a page is: what differs from the text around it is given a `lang` of its own.

Screen readers choose their voice by it, and browsers their fonts. Code is taken for English, and Chinese in it, which
no edition converts, for Simplified. Single terms in Latin letters within Chinese are left as they are.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(
    r"<!--.*?-->|<(?P<whole>script|style|title|textarea|math|svg)\b.*?</(?P=whole)>"  # nothing in them takes a span
    r"|<(?P<end>/?)(?P<tag>[a-z][a-z0-9]*)(?P<attributes>[^>]*)>",
    re.S,
)
_LANG = re.compile(r'(?<![\w-])lang="([\w-]+)"')
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_WIDE = f"{_HAN}\u3000-\u303f\uff00-\uffef"
_CHINESE = re.compile(f"[{_HAN}][{_WIDE}]*(?: ?[A-Za-z0-9-]+ ?[{_WIDE}]+)*")
_WORD = r"[A-Za-zÀ-ÿ][\w’'-]*"
_BETWEEN = r"(?:[\s,.;:!?()“”\"'–—/-]|&(?:amp|quot|#\w+);)+"
LEAST_WORDS = 4
"""So many English words in a row are a passage; fewer are terms or names."""
_ENGLISH = re.compile(f"{_WORD}(?:{_BETWEEN}{_WORD}){{{LEAST_WORDS - 1},}}[.!?]?")
_NO_WORDS = re.compile(r"<(?P<whole>math|code)\b.*?</(?P=whole)>|<[^>]*>|&#?\w+;", re.S)


def with_languages(html: str) -> str:
    """A page with `lang` on every passage that is not in the language of what it stands in; done twice, the same."""
    page = re.search(r"<html\b[^>]*>", html)
    page_lang = _LANG.search(page[0])[1] if page and _LANG.search(page[0]) else "en"
    prose_chinese = page_lang if page_lang.startswith("zh") else "zh-CN"
    out, stack, at = [], [("", page_lang, False)], 0  # (tag, language, whether in code)
    for markup in _MARKUP.finditer(html):
        _, lang, in_code = stack[-1]
        chinese = "zh-CN" if in_code else prose_chinese
        out.append(_mark(html[at : markup.start()], lang, chinese, in_code))
        at, tag, text = markup.end(), markup["tag"], markup[0]
        if markup["end"]:
            if any(tag == open_tag for open_tag, *_ in stack):
                while stack.pop()[0] != tag:
                    pass
        elif tag and tag not in _VOID and not text.endswith("/>"):
            said, inner = _LANG.search(markup["attributes"]), lang
            if said:
                inner = said[1]
            elif tag == "pre":
                inner = "en"
            elif tag == "p":
                inner = _of_paragraph(html[at : html.find("</p>", at)], lang, chinese)
            if inner != lang and not said:
                text = f'{text[:-1]} lang="{inner}">'
            stack.append((tag, inner, in_code or tag in ("pre", "code")))
        out.append(text)
    return "".join(out) + html[at:]


def _of_paragraph(inner: str, lang: str, chinese: str) -> str:
    """The language of a paragraph that stands in `lang`: another one only where hardly any word is in that."""
    text = _NO_WORDS.sub(" ", inner)
    characters, words = len(re.findall(f"[{_HAN}]", text)), len(re.findall("[A-Za-zÀ-ÿ]{2,}", text))
    if lang == "en" and characters > 2 * words:
        return chinese
    return "en" if lang != "en" and not characters and words >= LEAST_WORDS else lang


def _mark(text: str, lang: str, chinese: str, in_code: bool) -> str:
    if not lang.startswith("zh") or (in_code and lang != chinese):
        text = _CHINESE.sub(lambda found: f'<span lang="{chinese}">{found[0]}</span>', text)
    if lang != "en" and not in_code:
        text = _ENGLISH.sub(lambda found: f'<span lang="en">{found[0]}</span>', text)
    return text
