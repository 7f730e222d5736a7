"""The shipped model: a real GPT-2, small enough for git, that has learnt what the story world has to teach."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from insidegpt.evaluation import (
    classifier_pairs,
    excess_nats,
    false_start_probability,
    induction_scores,
    perplexity,
    preference,
    pronoun_pairs,
    recall_scores,
    source_perplexity,
    story_texts,
    story_tokens,
    token_log_probabilities,
)
from insidegpt.models import SHIPPED, load_model
from insidegpt.storyworld import STORY_WORLD
from insidegpt.storyworld.measures import best_token_accuracy
from insidegpt.texts import load_text
from insidegpt.tokenizer import END_OF_TEXT


@pytest.fixture(scope="module")
def shipped():
    return load_model()


@pytest.fixture(scope="module")
def attentive():
    return load_model(attentions=True)


def test_it_is_a_gpt2_that_plain_transformers_loads():
    model = AutoModelForCausalLM.from_pretrained(SHIPPED)
    assert isinstance(model, GPT2LMHeadModel)
    config = model.config
    assert config.n_layer >= 6 and config.n_positions >= 256 and config.activation_function == "gelu_new"
    assert model.lm_head.weight is model.transformer.wte.weight


def test_it_is_small_enough_for_git():
    assert (SHIPPED / "model.safetensors").stat().st_size <= 16_000_000


def test_its_tokenizer_gives_every_text_back_and_knows_the_end_mark():
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    for text in ("Once upon a time", "从前有一个女孩，名叫安娜。", "naïve 🎾 \n\t x²", load_text("story/test/zh")):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert (
        tokenizer(END_OF_TEXT).input_ids
        == [tokenizer.eos_token_id]
        == [AutoModelForCausalLM.from_pretrained(SHIPPED).config.eos_token_id]
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_perplexity_is_within_15_percent_of_the_sources_and_not_below_it(shipped, language):
    model, tokenizer = shipped
    texts = story_texts(language, 50)
    ours, source = perplexity(model, tokenizer, texts), source_perplexity(tokenizer, texts, language)
    print(f"{language}: model {ours:.3f}, source {source:.3f}, ratio {ours / source:.3f}")
    assert 1 < ours / source <= 1.15


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_story_costs_it_a_few_nats_more_than_the_source(shipped, language):
    texts = story_texts(language, 50)
    excess = excess_nats(*shipped, texts, language)
    print(f"{language}: {excess:.2f} nats a story")
    assert 0 < excess < 5
    tokens = len(texts) / sum(len(shipped[1](text).input_ids) + 1 for text in texts)
    ratio = perplexity(*shipped, texts) / source_perplexity(shipped[1], texts, language)
    assert excess * tokens == pytest.approx(math.log(ratio), rel=1e-4)


def test_nine_times_in_ten_it_begins_as_a_story_may(shipped):
    wrong = false_start_probability(*shipped)
    print(f"first tokens with which no story begins: {wrong:.3f}")
    assert 0 < wrong < 0.15


@pytest.mark.parametrize("language", ["en", "zh"])
def test_windows_on_joined_stories_surprise_it_little_more_than_stories_of_their_own(shipped, language):
    model, tokenizer = shipped
    ids = torch.tensor(tokenizer(load_text(f"story/test/{language}")).input_ids)
    windows = ids[: len(ids) // 256 * 256].view(-1, 256)[:32]
    with torch.inference_mode():
        loss = model(windows, labels=windows).loss
    assert loss.exp() < 1.5 * perplexity(model, tokenizer, story_texts(language, 30))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_names_the_next_token_nearly_as_often_as_the_best_predictor(shipped, language):
    model, tokenizer = shipped
    texts = story_texts(language, 2)
    _, hits = token_log_probabilities(model, tokenizer, texts)
    ours = torch.cat(hits).float().mean().item()
    bounds = [
        bound
        for text in texts
        for bound in best_token_accuracy(STORY_WORLD, text, language, tokenizer.backend_tokenizer)
    ]
    best = sum(high for _, high in bounds) / len(bounds)
    print(f"{language}: model {ours:.3f}, best predictor {best:.3f}")
    assert best - 0.06 <= ours


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_head_looks_to_the_name_that_is_about_to_be_said_again(attentive, language):
    scores, even = recall_scores(*attentive, story_texts(language, 30), language)
    layer, head = divmod(int(scores.argmax()), scores.shape[1])
    print(f"{language}: head {layer}.{head} {scores.max():.3f}, attention spread evenly {even:.3f}")
    assert scores.max() > 0.5 > 10 * even


@pytest.mark.parametrize(("language", "distance"), [("en", 40), ("zh", 15)])
def test_pronouns_agree_with_a_name_far_before(shipped, language, distance):
    pairs = [pair for text in story_texts(language, 50) for pair in pronoun_pairs(text, language, distance)]
    right = preference(*shipped, pairs)
    print(f"{language}: {right:.3f} of {len(pairs)}")
    assert len(pairs) >= 50 and right > 0.9


def test_measure_words_agree_with_a_noun_far_before(shipped):
    pairs = [pair for text in story_texts("zh", 200) for pair in classifier_pairs(text, 15)]
    right = preference(*shipped, pairs)
    print(f"{right:.3f} of {len(pairs)}")
    assert len(pairs) >= 50 and right > 0.9


def test_the_induction_score_is_1_for_a_perfect_head_and_0_for_one_that_looks_a_token_too_early():
    def model(rows, output_attentions):
        n, t = rows.shape
        weights = torch.zeros(n, 2, t, t)
        positions = torch.arange(t // 2, t)
        weights[:, 0, positions, positions - t // 2 + 1] = 1
        weights[:, 1, positions, positions - t // 2] = 1
        return SimpleNamespace(attentions=(weights,))

    class Model:
        device = "cpu"
        __call__ = staticmethod(model)

    assert induction_scores(Model(), range(100), n=2, length=10).tolist() == [[1, 0]]


def test_a_head_looks_to_what_followed_the_same_token_before_among_random_tokens(attentive):
    model, tokenizer = attentive
    scores = induction_scores(model, story_tokens(tokenizer))
    layer, head = divmod(int(scores.argmax()), scores.shape[1])
    print(f"head {layer}.{head} {scores.max():.3f}, the head that does it least {scores.min():.3f}")
    assert scores.max() > 0.5 > 10 * scores.min()
