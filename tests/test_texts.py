"""The one way to a text."""

import json
import os
import socket
import subprocess
import sys

import pytest

from insidegpt.errors import UserError
from insidegpt.storyworld import STORY_WORLD
from insidegpt.texts import STORIES, load_text
from insidegpt.tokenizer import END_OF_TEXT
from small_hub import serve


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_story_text_is_stories_of_its_split_between_end_marks(language):
    beginning, *stories, end = load_text(f"story/test/{language}").split(END_OF_TEXT)
    assert beginning == end == ""
    assert len(stories) == STORIES
    for story in stories[:20]:
        assert STORY_WORLD.log_probability(story, language, "test") > float("-inf")
        assert STORY_WORLD.log_probability(story, language, "train") == float("-inf")


def test_a_story_text_is_always_the_same():
    assert load_text("story/validation/en") == load_text("story/validation/en")
    assert load_text("story/validation/en") != load_text("story/test/en")


@pytest.mark.parametrize("name", ["story/test/fr", "story/exam/en", "story/", "story/test/en/1"])
def test_a_story_text_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(UserError, match="story/test/zh"):
        load_text(name)


def test_a_text_file_comes_as_it_is(tmp_path):
    text = "第一行\n\n  second line\nthird\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert load_text(str(tmp_path / "a.txt")) == text


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("before", "after it"):
        path.write_text(text)
        assert load_text(str(path)) == text


def test_rows_of_a_table_are_joined_by_blank_lines(tmp_path):
    rows = [{"text": "one"}, {"text": "二"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_text(str(tmp_path / "a.jsonl")) == "one\n\n二"


def test_a_table_without_a_text_column_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("word,count\na,1\n")
    with pytest.raises(UserError, match="word, count"):
        load_text(str(tmp_path / "a.csv"))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file"):
        load_text(str(tmp_path / "a.txt"))


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path, capfd):
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError) as caught:
        load_text(str(tmp_path / "a.parquet"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_text_file_that_is_not_utf_8_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("走进".encode("gbk"))
    with pytest.raises(UserError) as caught:
        load_text(str(tmp_path / "a.txt"))
    assert "\n" not in str(caught.value)


def test_a_name_of_nothing_is_refused_with_the_names_there_are():
    with pytest.raises(UserError, match=r"wikitext.*\.txt"):
        load_text("wikitext-103")


LOAD_WIKITEXT = """
from insidegpt.errors import UserError
from insidegpt.texts import load_text
try:
    print(repr(load_text("wikitext")))
except UserError as error:
    print(error)
"""


def in_a_new_process(code: str, **environment: str) -> str:
    """What Python prints; it must print no warning."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "0"} | environment,
    )
    assert ran.stderr == ""
    return ran.stdout


def test_wikitext_comes_from_the_hub_once_and_then_without_it(tmp_path):
    from datasets import Dataset

    repository = tmp_path / "wikitext"
    (repository / "wikitext-2-raw-v1").mkdir(parents=True)
    rows = Dataset.from_dict({"text": ["", " = Title = \n", "A line .\n"]})
    rows.to_parquet(repository / "wikitext-2-raw-v1" / "test-00000-of-00001.parquet")
    (repository / "README.md").write_text(CARD_OF_WIKITEXT)
    home = str(tmp_path / "home")
    with serve({"datasets/Salesforce/wikitext": repository}) as (address, requests):
        first = in_a_new_process(LOAD_WIKITEXT, HF_ENDPOINT=address, HF_HOME=home)
        assert first == repr("\n\n = Title = \n\n\nA line .\n") + "\n"
        requests.clear()
        assert in_a_new_process(LOAD_WIKITEXT, HF_ENDPOINT=address, HF_HOME=home) == first
        assert requests == []


CARD_OF_WIKITEXT = """---
configs:
- config_name: wikitext-2-raw-v1
  data_files:
  - split: test
    path: wikitext-2-raw-v1/test-*
---
"""


def test_wikitext_without_the_hub_is_refused_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # closed by the time it is used
    printed = in_a_new_process(LOAD_WIKITEXT, HF_ENDPOINT=f"http://127.0.0.1:{port}", HF_HOME=str(tmp_path))
    assert "WikiText-2 is not on this computer" in printed and "story/test/en" in printed
    assert printed.count("\n") == 1
