"""Text that can be found and copied in a PDF.

Noto and its kin draw 长 and the radical ⻓ (U+2ED3) with one glyph, and of all characters that a glyph draws Chromium
notes the one that comes first in Unicode: a reader who seeks 长 would find nothing. The same holds for the letters of a
ligature (ﬁ).
"""

from __future__ import annotations

import re
import unicodedata
from io import BytesIO

_SUPPLEMENT = str.maketrans(
    "⺁⺂⺃⺄⺅⺆⺇⺈⺉⺊⺋⺌⺍⺎⺏⺐⺑⺒⺓⺔⺕⺖⺗⺘⺙⺛⺜⺝⺞⺟⺠⺡⺢⺣⺤⺥⺦⺧⺨⺩⺪⺫⺬⺭⺮⺯⺰⺱⺲⺳⺴⺵⺶⺷⺸⺹⺺⺻⺼⺽⺾⺿⻀⻁⻂⻃⻄⻅⻆⻇⻈⻉⻊⻋⻌⻍⻎⻏⻐⻑⻒⻓⻔⻕⻖⻗⻘⻙⻚⻛⻜⻝⻞⻟⻠⻡⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳",
    "厂乛乚乙亻冂𠘨刀刂卜㔾小小兀尣尢𡯂巳幺彑彐忄心扌攵旡日月歺母民氵氺灬爫爫丬牛犭王𤴔目示礻𥫗糹纟罓罒㓁冗𦉫羊𦍌𦍋耂肀聿肉𦥑艹艹艹虎衤覀西见角𧢲讠贝𧾷车辶辶辶邑钅長镸长门𨸏阝雨青韦页风飞食𩙿飠饣𩠐马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟",
)
"""Unicode's CJK Radicals Supplement as ideographs (its property Equivalent_Unified_Ideograph)."""
_KANGXI_OR_LIGATURE = re.compile("[\u2f00-\u2fd5\ufb00-\ufb06]")
"""For these Unicode has compatibility decompositions."""
_ENTRY = re.compile(r"^<(\w+)> (?:<(\w+)> )?<(\w{4,})>$", re.M)


def searchable(pdf: bytes) -> bytes:
    """A PDF that Chromium printed, with ideographs and letters where its fonts say that a glyph is something rarer."""
    from pypdf import PdfWriter

    writer = PdfWriter(BytesIO(pdf), incremental=True)
    fonts = (font.get_object() for page in writer.pages for font in page["/Resources"].get("/Font", {}).values())
    for stream in {id(font["/ToUnicode"]): font["/ToUnicode"] for font in fonts if "/ToUnicode" in font}.values():
        said = stream.get_data().decode("ascii")
        stream.set_data(with_plain_characters(said).encode("ascii"))
    changed = BytesIO()
    writer.write(changed)
    return changed.getvalue()


def with_plain_characters(cmap: str) -> str:
    """A ToUnicode map as Chromium writes it, without radicals and ligatures.

    Its lines are `<glyph> <characters>`, or `<first glyph> <last glyph> <characters of the first>`, in hexadecimal.
    """

    def entry(line: re.Match) -> str:
        first, last, code = line.groups()
        text = bytes.fromhex(code).decode("utf-16-be")
        size = int(last, 16) - int(first, 16) + 1 if last else 1
        said = [text[:-1] + chr(ord(text[-1]) + after) for after in range(size)]
        better = [plain(characters) for characters in said]
        if said == better:
            return line[0]
        listed = " ".join(f"<{characters.encode('utf-16-be').hex().upper()}>" for characters in better)
        return f"<{first}> <{last}> [{listed}]" if last else f"<{first}> {listed}"

    return _ENTRY.sub(entry, cmap)


def plain(text: str) -> str:
    """The text with ideographs for radicals (U+2E80 to U+2FD5) that look the same, and letters for ligatures."""
    text = text.translate(_SUPPLEMENT)
    return _KANGXI_OR_LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
