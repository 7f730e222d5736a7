"""What a book says of itself before its first page, by edition."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """subtitle: under the title; contents: over the table of contents."""

    subtitle: str
    contents: str


WORDS = {
    "en": Words("How attention and GPT-2 work", "Contents"),
    "zh": Words("注意力与 GPT-2 如何工作", "目录"),
    "zh-tw": Words("注意力與 GPT-2 如何運作", "目錄"),
    "en-zh": Words("How attention and GPT-2 work · 注意力与 GPT-2 如何工作", "Contents · 目录"),
}
