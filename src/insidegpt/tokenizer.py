"""The book's tokenizer: byte-level BPE as in GPT-2, trained on both languages of the story world."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
VOCABULARY_SIZE = 4096

# As in GPT-2 a word takes the space before it along. Unlike GPT-2, each mark of punctuation stands alone, and so do the
# commonest function words of Chinese, which has no spaces: what is left between them are mostly words.
_FUNCTION_WORDS = "的了着过吗呢吧说问也都和把"
_SPLIT = "|".join(
    [
        " ?[a-zA-Z]+",
        r" ?\p{N}+",
        rf"[{_FUNCTION_WORDS}]",
        "[我你他她它]们?",
        rf"[^\s\p{{P}}\p{{N}}a-zA-Z{_FUNCTION_WORDS}我你他她它]+",
        r" ?\p{P}",
        r"\s",
    ]
)
LONGEST_TOKEN = 12  # bytes: four Chinese characters


def train_tokenizer(texts: Iterable[str], vocabulary_size: int = VOCABULARY_SIZE) -> "Tokenizer":
    """A byte-level BPE tokenizer for `texts`; `<|endoftext|>` is its last entry, as in GPT-2.

    Every string can be encoded, and decoding gives it back. The same texts give the same tokenizer.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def pretrained(tokenizer: "Tokenizer"):
    """`tokenizer` as transformers' `PreTrainedTokenizerFast`; its `save_pretrained` writes tokenizer.json."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, unk_token=END_OF_TEXT
    )


def fertility(tokenizer: "Tokenizer", texts: Iterable[str], language: str) -> float:
    """Tokens per word in English ("en"), per character in Chinese ("zh")."""
    texts = list(texts)
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
    return tokens / sum(len(text.split()) if language == "en" else len(text) for text in texts)
