"""The one way to a text: the story world, WikiText-2, or a file."""

from pathlib import Path

from insidegpt.errors import UserError
from insidegpt.hub import require_hub

STORIES = 200
"""Stories in a text of the story world."""
SEED = 2026
_FORMATS = {".txt": "text", ".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


def load_text(name: str) -> str:
    """A text to measure a model on.

    name: one of
    - "story/test/en", "story/test/zh", "story/validation/en" …: `STORIES` stories of a split, always the same, joined
      as the shipped model was trained: `<|endoftext|>` before each story and after the last;
    - "wikitext": the test set of WikiText-2 (raw) from the Hugging Face hub, its lines joined by blank lines as on
      https://huggingface.co/docs/transformers/perplexity;
    - a file: a .txt as it is; of a .csv, .json, .jsonl or .parquet the column "text", joined by blank lines.

    Raises UserError when there is no such text; never takes another one instead.
    """
    if name.startswith("story/"):
        return _stories(name)
    if name == "wikitext":
        return "\n\n".join(_wikitext())
    return "\n\n".join(_file(Path(name).expanduser()))


def _stories(name: str) -> str:
    from insidegpt.storyworld import STORY_WORLD
    from insidegpt.storyworld.grammar import LANGUAGES
    from insidegpt.storyworld.source import SPLITS
    from insidegpt.tokenizer import END_OF_TEXT

    known = [f"story/{split}/{language}" for split in SPLITS for language in LANGUAGES]
    if name not in known:
        raise UserError(
            f"There is no text {name!r}: take one of {', '.join(known)}.",
            f"没有文本 {name!r}：请从 {'、'.join(known)} 中选一个。",
        )
    _, split, language = name.split("/")
    stories = STORY_WORLD.stories(STORIES, SEED, split)
    return "".join(END_OF_TEXT + story.text(language) for story in stories) + END_OF_TEXT


def _wikitext() -> list[str]:
    import datasets
    from datasets.packaged_modules.cache.cache import Cache

    repository, name, split = "Salesforce/wikitext", "wikitext-2-raw-v1", "test"
    _quiet_datasets()
    try:
        # What was downloaded before: `load_dataset` would ask the hub about it, and wait long when that is away.
        downloaded = Cache(dataset_name="wikitext", repo_id=repository, config_name=name, version="auto", hash="auto")
        return downloaded.as_dataset(split)["text"]
    except ValueError:
        require_hub("WikiText-2", ("take a text of the story world, story/test/en", "改用故事世界的文本 story/test/zh"))
    try:
        return datasets.load_dataset(repository, name, split=split)["text"]
    except (OSError, ValueError) as error:
        raise UserError(f"WikiText-2 cannot be read ({error}).", f"无法读取 WikiText-2（{error}）。") from error


def _file(path: Path) -> list[str]:
    if path.suffix not in _FORMATS:
        raise UserError(
            f"{path} is neither a text of the book (story/test/en, story/test/zh, wikitext) nor a file that ends in "
            f"{', '.join(_FORMATS)}.",
            f"{path} 既不是本书的文本（story/test/en、story/test/zh、wikitext），"
            f"也不是以 {'、'.join(_FORMATS)} 结尾的文件。",
        )
    if not path.is_file():
        raise UserError(f"There is no file {path}.", f"没有文件 {path}。")
    import datasets

    _quiet_datasets()
    # A plain text is one document: its line ends belong to it.
    options = {"sample_by": "document"} if path.suffix == ".txt" else {}
    try:
        rows = datasets.load_dataset(_FORMATS[path.suffix], data_files=str(path), split="train", **options)
    except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
        reason = error.__cause__ or error
        raise UserError(f"{path} cannot be read ({reason}).", f"无法读取 {path}（{reason}）。") from error
    if "text" not in rows.column_names:
        raise UserError(
            f'{path} has no column "text", only {", ".join(rows.column_names)}.',
            f"{path} 里没有名为 text 的列，只有 {'、'.join(rows.column_names)}。",
        )
    return rows["text"]


def _quiet_datasets() -> None:
    """Switch off the progress bars and the log of datasets, for the process; its exceptions say the same."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
