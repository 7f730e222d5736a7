"""The GPT-2 of the playground, JavaScript in V8, beside that of transformers: tokens, logits, attention, surprise."""

import json
import unicodedata
from pathlib import Path

import pytest
import torch
from py_mini_racer import MiniRacer

from insidegpt.models import SHIPPED, load_model
from insidegpt.site import live
from insidegpt.texts import load_text

SCRIPT = Path(live.__file__).with_name("static").joinpath("live", "gpt2.js").read_text("utf8")
CLOSE = 1e-3

TEXTS = {
    "nothing": "",
    "the start": "<|endoftext|>",
    "English": load_text("story/test/en").split("<|endoftext|>")[7],
    "Chinese": load_text("story/test/zh").split("<|endoftext|>")[7],
    "both": "Leila 莱拉 said说：“Hello，world!”他们和我们都 lost 12 keys，３把钥匙。",
    "of another world": "Four score and seven years ago — “E = mc²”, naïve café, Größe; 東京の天気は晴れ。",
    "emoji": "👩‍👩‍👧‍👦 waves 👋🏽, 🇨🇳 and 🎉🎉",
    "odd spaces": "  two  spaces\t\ttabs\r\n\r\n\u3000full width\u00a0hard\u0085next\u2028line\ufeffend\u200b ",
    "marks in the text": "one<|endoftext|><|endoftext|> two <|endoftext> <|startoftext|>",
    "no language": "\x00\x01\x7f\ufffd\U0010ffff ﷽ a\u0301 \u202eback",
    "long words": "a" * 300 + "的" * 300 + "望" * 100,
}
READ = ["English", "Chinese", "both", "emoji", "odd spaces"]
"""Those whose forward passes are compared too."""


class Playground:
    """V8 with a tokenizer and a model made from the shipped files."""

    def __init__(self, script: str):
        self.engine = MiniRacer()
        self.engine.eval(script)
        weights = (SHIPPED / "model.safetensors").read_bytes()
        buffer = self.engine.eval(f"const buffer = new ArrayBuffer({len(weights)}); buffer")
        memoryview(buffer)[:] = weights
        config, tokenizer = ((SHIPPED / name).read_text("utf8") for name in ("config.json", "tokenizer.json"))
        self.engine.eval(f"const tokenizer = new Tokenizer({tokenizer})")
        self.engine.eval(f"const gpt2 = new GPT2({config}, safetensors(buffer))")

    def ask(self, expression: str):
        """The value of a JavaScript expression."""
        return json.loads(self.engine.eval(f"JSON.stringify({expression})"))

    def encode(self, texts: list[str]) -> list[list[int]]:
        return self.ask(f"{json.dumps(texts)}.map((text) => tokenizer.encode(text))")

    def read(self, ids: list[int], keep: int = 0) -> list[torch.Tensor]:
        """Logits (T, V), attentions (L, H, T, T) and surprise (T - 1,), with the cache of the first `keep` tokens."""
        self.engine.eval(f"gpt2.keep({keep}); for (const id of {ids[keep:]}) gpt2.read(id)")
        rows = self.ask("gpt2.h.map(({ attentions }) => attentions)")  # (L, T, H, up to T)
        return [
            torch.tensor(self.ask("gpt2.logits.map((row) => Array.from(row))")),
            torch.tensor(
                [[[w + [0] * (len(ids) - len(w)) for w in heads] for heads in layer] for layer in rows]
            ).transpose(1, 2),
            self.surprise(),
        ]

    def surprise(self) -> torch.Tensor:
        """What each token but the first cost."""
        return torch.tensor(self.ask("gpt2.surprises.slice(1)"))


@pytest.fixture(scope="module")
def playground():
    return Playground(SCRIPT)


@pytest.fixture(scope="module")
def shipped():
    return load_model(SHIPPED, "cpu", attentions=True)


def expected(model, ids):
    """What `Playground.read` gives, from PyTorch."""
    with torch.inference_mode():
        out = model(torch.tensor([ids]), output_attentions=True)
    surprise = -out.logits[0, :-1].log_softmax(dim=-1).gather(-1, torch.tensor(ids)[1:, None])[:, 0]
    return [out.logits[0], torch.cat(out.attentions), surprise]


def differences(found, wanted):
    return [(one - other).abs().max().item() for one, other in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_has_the_tokens_of_the_shipped_tokenizer(playground, shipped, name):
    assert playground.encode([TEXTS[name]]) == shipped[1]([TEXTS[name]]).input_ids


def test_every_character_that_may_part_words_has_the_same_tokens(playground, shipped):
    points = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c))[0] in "PNZ" or c < 0x250 or c % 97 == 0]
    texts = [f"a{c}b {c}1{c}的" for c in points if unicodedata.category(c) != "Cs"]
    assert len(texts) > 3000
    assert playground.encode(texts) == shipped[1](texts).input_ids


def test_tokens_become_the_text_again(playground):
    for text in TEXTS.values():
        assert playground.ask(f"tokenizer.decode(tokenizer.encode({json.dumps(text)}))") == text


def test_half_a_character_is_read_as_the_sign_for_none(playground):
    assert playground.ask(r"tokenizer.decode(tokenizer.encode('a\ud83c'))") == "a\ufffd"


def test_every_token_can_be_seen(playground, shipped):
    shown = playground.ask("Array.from({length: gpt2.config.vocab_size}, (_, id) => tokenizer.show(id))")
    assert not [s for s in shown if not s or not s.isprintable() or " " in s or "\ufffd" in s]
    tokens = {i: bytes(playground.ask(f"tokenizer.bytes({i})")) for i in range(len(shown))}
    characters = {i: token.decode() for i, token in tokens.items() if token.decode(errors="ignore").encode() == token}
    assert len(shown) - len(characters) > 200, "bytes that are no character are among them"
    assert all(shown[i] == c.replace(" ", "␣") for i, c in characters.items() if c.replace(" ", "").isprintable())
    assert shown[next(i for i, token in tokens.items() if token == b"\x8c\xe6\x9c\x9b")] == "⟨8C⟩望"


@pytest.mark.parametrize("name", READ)
def test_logits_attention_and_surprise_are_pytorchs(playground, shipped, name):
    model, tokenizer = shipped
    ids = tokenizer(f"<|endoftext|>{TEXTS[name]}").input_ids
    assert max(differences(playground.read(ids), expected(model, ids))) < CLOSE


def test_a_window_as_long_as_the_model_reads_is_pytorchs(playground, shipped):
    model, tokenizer = shipped
    ids = tokenizer(load_text("story/test/zh")).input_ids[: model.config.n_positions]
    assert max(differences(playground.read(ids), expected(model, ids))) < CLOSE


def test_what_was_kept_of_the_first_tokens_changes_nothing(playground, shipped):
    ids, other = (shipped[1](f"<|endoftext|>{TEXTS[name]}").input_ids for name in ("English", "Chinese"))
    fresh = playground.read(ids[:40])
    playground.read(ids[:20] + other)
    assert differences(playground.read(ids[:40], keep=20), fresh) == [0, 0, 0]


MUTANTS = {
    "gelu": ("0.5 * x * (1 + Math.tanh", "0.5 * x * (1 + Math.sin"),
    "erf's gelu, nearly": ("0.044715", "0.05"),
    "no scale": (" / Math.sqrt(d_k)", ""),
    "scale of the whole width": ("Math.sqrt(d_k)", "Math.sqrt(d)"),
    "a token does not see itself": ("keys.map((k) =>", "keys.map((k, j) => j && j === keys.length - 1 ? -Infinity :"),
    "a later token is seen": (
        "weights[head] = softmax(scores)",
        "weights[head] = softmax([...scores, 0]).slice(0, -1)",
    ),
    "no ln_f": ("linear(layerNorm(x, ln_f, epsilon), { weight: wte })", "linear(x, { weight: wte })"),
    "no ln_1": ("this.attention(layerNorm(x, block.ln_1, epsilon)", "this.attention(x"),
    "variance of a sample": ("** 2, 0) / x.length", "** 2, 0) / (x.length - 1)"),
    "keys and values exchanged": ("keys.push(qkv.subarray(d, 2 * d))", "keys.push(qkv.subarray(2 * d))"),
    "no residual": ("x = add(x, this.mlp(layerNorm(x, block.ln_2, epsilon), block))", "x = this.mlp(x, block)"),
    "positions from one": (
        "wpe.subarray(position * d, (position + 1) * d)",
        "wpe.subarray((position + 1) * d, (position + 2) * d)",
    ),
    "no bias": ("(bias ? bias[j] : 0)", "0"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_in_the_forward_pass_is_noticed(shipped, name):
    right, wrong = MUTANTS[name]
    assert SCRIPT.count(right) == 1
    model, tokenizer = shipped
    ids = tokenizer(f"<|endoftext|>{TEXTS['English']}").input_ids[:24]
    assert max(differences(Playground(SCRIPT.replace(right, wrong)).read(ids), expected(model, ids))) > 2 * CLOSE


def test_a_cache_that_is_not_cut_is_noticed(shipped):
    model, tokenizer = shipped
    ids = tokenizer(TEXTS["English"]).input_ids[:24]
    wrong = Playground(SCRIPT.replace("=> [keys, values, attentions]", "=> [attentions]"))
    wrong.read(ids)
    changed = ids[:8] + ids[12:]
    wrong.engine.eval(f"gpt2.keep(8); for (const id of {changed[8:]}) gpt2.read(id)")
    assert differences([wrong.surprise()], expected(model, changed)[2:])[0] > CLOSE


def test_weights_of_another_type_are_refused(playground):
    said = playground.ask("""(() => {
        const header = JSON.stringify({w: {dtype: "F16", shape: [1], data_offsets: [0, 2]}});
        const buffer = new ArrayBuffer(8 + header.length + 2);
        new DataView(buffer).setBigUint64(0, BigInt(header.length), true);
        new Uint8Array(buffer).set(Array.from(header, (c) => c.charCodeAt(0)), 8);
        try { return safetensors(buffer) } catch (error) { return error.message } })()""")
    assert said == "w is of type F16, not F32"
