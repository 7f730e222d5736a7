"""Wrong answers to the exercises of the chapter `generation`."""

import math

import torch

from mutants import Mutants

MUTANTS = Mutants()

# --- next_token_logits ----------------------------------------------------------------------------------------

EXERCISE = "next_token_logits"
VALUES = "row t follows the first t + 1 tokens and no more"
PARALLEL = "for GPT-2 it equals one parallel pass"
BATCH = "leading dimensions are a batch"
SINGLE = "a text of one token is a text too"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves text and model as they were"


def prefixes(model, ids, ends=None, at=-1):
    """Logits (B, T, V) after the prefixes of ids (B, T) with these ends."""
    ends = range(1, ids.shape[1] + 1) if ends is None else ends
    return torch.stack([model(ids[:, :end]).logits[:, at] for end in ends], dim=1)


def any_lead(function):
    """Give a function of (B, T) any number of leading dimensions."""

    def answer(model, ids):
        out = function(model, ids.reshape(-1, ids.shape[-1]))
        return out.reshape(*ids.shape[:-1], *out.shape[1:])

    answer.__name__ = function.__name__
    return answer


@MUTANTS.add(EXERCISE, VALUES, "this model looks ahead", spares=PARALLEL)
@any_lead
def prefix_one_pass(model, ids):
    return model(ids).logits


@MUTANTS.add(EXERCISE, VALUES, "off by one: the last row is missing")
@any_lead
def prefix_without_the_whole_text(model, ids):
    return prefixes(model, ids, range(1, max(2, ids.shape[1])))


@MUTANTS.add(EXERCISE, VALUES, "off by one: row 0 is missing")
@any_lead
def prefix_from_two_tokens_on(model, ids):
    return prefixes(model, ids, range(min(2, ids.shape[1]), ids.shape[1] + 1))


@MUTANTS.add(EXERCISE, VALUES, "row t comes after t tokens")
@any_lead
def prefix_one_late(model, ids):
    return prefixes(model, ids, [max(1, t) for t in range(ids.shape[1])])


@MUTANTS.add(EXERCISE, VALUES, "already seen token t + 1")
@any_lead
def prefix_one_early(model, ids):
    return prefixes(model, ids, [min(t + 2, ids.shape[1]) for t in range(ids.shape[1])])


@MUTANTS.add(EXERCISE, VALUES, "reverse order")
@any_lead
def prefix_reversed(model, ids):
    return prefixes(model, ids).flip(1)


@MUTANTS.add(EXERCISE, VALUES, "the first position of each prefix")
@any_lead
def prefix_first_position(model, ids):
    return prefixes(model, ids, at=0)


@MUTANTS.add(EXERCISE, PARALLEL, "one token at a time")
@any_lead
def prefix_single_tokens(model, ids):
    return torch.stack([model(ids[:, t : t + 1]).logits[:, -1] for t in range(ids.shape[1])], dim=1)


@MUTANTS.add(EXERCISE, VALUES, "what follows; it should see what comes before")
@any_lead
def prefix_suffixes(model, ids):
    return torch.stack([model(ids[:, t:]).logits[:, -1] for t in range(ids.shape[1])], dim=1)


@MUTANTS.add(EXERCISE, VALUES, "these are probabilities")
@any_lead
def prefix_probabilities(model, ids):
    return prefixes(model, ids).softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "these are log-probabilities")
@any_lead
def prefix_log_probabilities(model, ids):
    return prefixes(model, ids).log_softmax(-1)


@MUTANTS.add(EXERCISE, VALUES, "expected shape (2, 6, 11), got (2, 11)")
@any_lead
def prefix_last_only(model, ids):
    return model(ids).logits[:, -1]


@MUTANTS.add(EXERCISE, BATCH, "reshape to (B, T) for the model")
def prefix_two_dimensions_only(model, ids):
    return prefixes(model, ids)


@MUTANTS.add(EXERCISE, BATCH, "it should be (1, 5, 11)")
def prefix_squeezed(model, ids):
    out = prefixes(model, ids.reshape(-1, ids.shape[-1])).reshape(*ids.shape, -1)
    return out.squeeze(0) if len(out) == 1 and ids.shape[-1] > 3 else out


@MUTANTS.add(EXERCISE, BATCH, "mixed up")
def prefix_stacked_along_the_wrong_axis(model, ids):
    texts = ids.reshape(-1, ids.shape[-1])
    rows = [model(texts[:, :end]).logits[:, -1] for end in range(1, ids.shape[-1] + 1)]
    return torch.stack(rows).reshape(*ids.shape, -1)  # (T, B, V) read as (B, T, V)


@MUTANTS.add(EXERCISE, SINGLE, "expected shape (11, 1, 11), got (11, 11)")
@any_lead
def prefix_loses_a_length_of_one(model, ids):
    return prefixes(model, ids).squeeze(1)


@MUTANTS.add(EXERCISE, DTYPE, "a model in cpu float64 gave cpu float32")
@any_lead
def prefix_in_float32(model, ids):
    return prefixes(model, ids).float()


@MUTANTS.add(EXERCISE, UNTOUCHED, "left in the other")
@any_lead
def prefix_switches_to_evaluation(model, ids):
    return prefixes(model.eval(), ids)


@MUTANTS.add(EXERCISE, UNTOUCHED, "frozen")
@any_lead
def prefix_freezes(model, ids):
    return prefixes(model.requires_grad_(False), ids)


@MUTANTS.add(EXERCISE, UNTOUCHED, "ids was changed in place")
def prefix_clears_its_input(model, ids):
    out = prefixes(model, ids.reshape(-1, ids.shape[-1])).reshape(*ids.shape, -1)
    ids.zero_()
    return out


@MUTANTS.worthless(EXERCISE)
def prefix_zeros(model, ids):
    return model(ids.reshape(-1, ids.shape[-1])).logits.new_zeros(*ids.shape, 11)


@MUTANTS.worthless(EXERCISE)
def prefix_output_object(model, ids):
    return model(ids)


@MUTANTS.worthless(EXERCISE)
def prefix_nan(model, ids):
    return prefix_zeros(model, ids) / 0


@MUTANTS.worthless(EXERCISE)
def prefix_one_hot(model, ids):
    return torch.nn.functional.one_hot(ids, 11).to(next(model.parameters()).dtype)


@MUTANTS.worthless(EXERCISE)
def prefix_empties_what_it_is_given(model, ids):
    # what is computed from these arguments afterwards is zeros too
    model.requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    ids.zero_()
    return prefix_zeros(model, ids)


# --- KVCache --------------------------------------------------------------------------------------------------

EXERCISE = "KVCache"
HELD = "update returns everything held so far"
LAYERS = "each layer has a store of its own"
DECODER = "a decoder that uses it in pieces equals one pass"
LENGTH = "len counts the positions that every layer holds"
BATCH = "leading dimensions are a batch"
RESET = "reset makes it as good as new"
OVERFLOW = "refuses more than max_length and stays as it was"
DTYPE = "keeps dtype and device"
COPIES = "keeps a copy and leaves its inputs untouched"
INSTANCES = "two caches share nothing"


class Right:
    """A right cache, for the mutants to spoil in one place."""

    def __init__(self, n_layer, max_length):
        self.n_layer, self.max_length = n_layer, max_length
        self.reset()

    def reset(self):
        self.pairs = [None] * self.n_layer

    def count(self, layer):
        return 0 if self.pairs[layer] is None else self.pairs[layer][0].shape[-2]

    def refuse(self, layer, k):
        held = self.pairs[layer]
        if self.count(layer) + k.shape[-2] > self.max_length:
            raise ValueError(f"more than max_length = {self.max_length}")
        if held is not None and held[0].shape[:-2] != k.shape[:-2]:
            raise ValueError("another batch")

    def join(self, old, new):
        return torch.cat([old, new], dim=-2)

    def update(self, layer, k, v):
        self.refuse(layer, k)
        held = self.pairs[layer]
        new = (k.clone(), v.clone())
        self.pairs[layer] = new if held is None else tuple(self.join(*both) for both in zip(held, new, strict=True))
        return self.pairs[layer]

    def __len__(self):
        return min(self.count(layer) for layer in range(self.n_layer))


@MUTANTS.add(EXERCISE, HELD, "only the newest chunk of keys came back")
class CacheNewestOnly(Right):
    def update(self, layer, k, v):
        super().update(layer, k, v)
        return k, v


@MUTANTS.add(EXERCISE, HELD, "a new chunk goes behind the old ones")
class CachePrepends(Right):
    def join(self, old, new):
        return torch.cat([new, old], dim=-2)


@MUTANTS.add(EXERCISE, HELD, "joined along axis -3; positions are axis -2")
class CacheJoinsHeads(Right):
    def refuse(self, layer, k):
        pass

    def join(self, old, new):
        return torch.cat([old, new], dim=-3)


@MUTANTS.add(EXERCISE, HELD, "joined along axis -1; positions are axis -2")
class CacheJoinsFeatures(Right):
    def refuse(self, layer, k):
        pass

    def join(self, old, new):
        return torch.cat([old, new], dim=-1)


@MUTANTS.add(EXERCISE, HELD, "padded to their full length")
class CacheReturnsEmptyPlaces(Right):
    def update(self, layer, k, v):
        pad = self.max_length
        return tuple(
            torch.cat([t, t.new_zeros(*t.shape[:-2], pad - t.shape[-2], t.shape[-1])], -2)
            for t in super().update(layer, k, v)
        )


@MUTANTS.add(EXERCISE, HELD, "keys and values have changed places")
class CacheSwapsKeysAndValues(Right):
    def update(self, layer, k, v):
        return super().update(layer, k, v)[::-1]


@MUTANTS.add(EXERCISE, HELD, "one tensor came back")
class CacheReturnsKeysOnly(Right):
    def update(self, layer, k, v):
        return super().update(layer, k, v)[0]


@MUTANTS.add(EXERCISE, LAYERS, "each layer needs a store of its own", spares=HELD)
class CacheSharedBetweenLayers(Right):
    def update(self, layer, k, v):
        return super().update(0, k, v)

    def __len__(self):
        return self.count(0) // self.n_layer


@MUTANTS.add(EXERCISE, DECODER, "not where the next token stands", spares=HELD)
class CachePositionsRestart(Right):
    # the length is that of the newest chunk
    newest = 0

    def update(self, layer, k, v):
        pair = super().update(layer, k, v)
        if layer == self.n_layer - 1:
            self.newest = k.shape[-2]
        return pair

    def __len__(self):
        return self.newest


@MUTANTS.add(EXERCISE, DECODER, "not where the next token stands", spares=HELD)
class CacheHasNoLength(Right):
    def __len__(self):
        return 0


@MUTANTS.add(EXERCISE, LENGTH, "counts once, when the last layer has it")
class CacheCountsEveryLayer(Right):
    def __len__(self):
        return sum(self.count(layer) for layer in range(self.n_layer))


@MUTANTS.add(EXERCISE, LENGTH, "counts once, when the last layer has it", spares=DECODER)
class CacheCountsTheFirstLayer(Right):
    def __len__(self):
        return self.count(0)


@MUTANTS.add(EXERCISE, LENGTH, "counts once, when the last layer has it")
class CacheCountsTheFullestLayer(Right):
    def __len__(self):
        return max(self.count(layer) for layer in range(self.n_layer))


@MUTANTS.add(EXERCISE, LENGTH, "len(cache) is 12 where 0 positions")
class CacheLengthIsItsRoom(Right):
    def __len__(self):
        return self.max_length if any(self.pairs) and not all(self.pairs) else super().__len__()


@MUTANTS.add(EXERCISE, LENGTH, "len(cache) is 1 where 2 positions")
class CacheCountsChunks(Right):
    chunks = 0

    def update(self, layer, k, v):
        pair = super().update(layer, k, v)
        self.chunks += layer == self.n_layer - 1
        return pair

    def __len__(self):
        return self.chunks


@MUTANTS.add(EXERCISE, BATCH, "IndexError")
class CacheAxisFromTheFront(Right):
    def join(self, old, new):
        return torch.cat([old, new], dim=2)


@MUTANTS.add(EXERCISE, BATCH, "a chunk of batch size 1 in a cache of batch size 2 was accepted")
class CacheBroadcastsABatch(Right):
    def refuse(self, layer, k):
        if self.count(layer) + k.shape[-2] > self.max_length:
            raise ValueError(f"more than max_length = {self.max_length}")

    def join(self, old, new):
        return torch.cat([old, new.expand(*old.shape[:-2], *new.shape[-2:])], dim=-2)


@MUTANTS.add(EXERCISE, BATCH, "RuntimeError; raise a ValueError")
class CacheLeavesTheBatchToTorch(Right):
    def refuse(self, layer, k):
        if self.count(layer) + k.shape[-2] > self.max_length:
            raise ValueError(f"more than max_length = {self.max_length}")


@MUTANTS.add(EXERCISE, RESET, "len(cache) is 4 after reset")
class CacheResetDoesNothing(Right):
    def __init__(self, n_layer, max_length):
        super().__init__(n_layer, max_length)
        self.ready = True

    def reset(self):
        if not hasattr(self, "ready"):
            super().reset()


@MUTANTS.add(EXERCISE, RESET, "keeps the dtype of the text before")
class CacheKeepsItsDtype(Right):
    dtype = None

    def update(self, layer, k, v):
        self.dtype = self.dtype or k.dtype
        return super().update(layer, k.to(self.dtype), v.to(self.dtype))


@MUTANTS.add(EXERCISE, RESET, "ValueError")
class CacheKeepsItsBatch(Right):
    # only the number of positions is set back, the room stays as it was made
    def reset(self):
        self.pairs = [p if p is None else tuple(t[..., :0, :] for t in p) for p in getattr(self, "pairs", [None] * 9)]
        self.pairs = self.pairs[: self.n_layer]


@MUTANTS.add(EXERCISE, OVERFLOW, "was accepted")
class CacheGrows(Right):
    def refuse(self, layer, k):
        if self.pairs[layer] is not None and self.pairs[layer][0].shape[:-2] != k.shape[:-2]:
            raise ValueError("another batch")


@MUTANTS.add(EXERCISE, OVERFLOW, "was accepted")
class CacheForgetsTheOldest(Right):
    def refuse(self, layer, k):
        if self.pairs[layer] is not None and self.pairs[layer][0].shape[:-2] != k.shape[:-2]:
            raise ValueError("another batch")

    def join(self, old, new):
        return super().join(old, new)[..., -self.max_length :, :]


@MUTANTS.add(EXERCISE, OVERFLOW, "raised IndexError; raise a ValueError")
class CacheRaisesAnotherError(Right):
    def refuse(self, layer, k):
        try:
            super().refuse(layer, k)
        except ValueError as error:
            raise (IndexError if "max_length" in str(error) else ValueError)(str(error)) from None


@MUTANTS.add(EXERCISE, OVERFLOW, "no sentence that names 5")
class CacheSaysNothing(Right):
    def refuse(self, layer, k):
        try:
            super().refuse(layer, k)
        except ValueError as error:
            raise ValueError("full" if "max_length" in str(error) else str(error)) from None


@MUTANTS.add(EXERCISE, OVERFLOW, "raised")
class CacheRefusesTheLastPlace(Right):
    def refuse(self, layer, k):
        super().refuse(layer, k)
        if self.count(layer) + k.shape[-2] == self.max_length == 5:
            raise ValueError(f"more than max_length = {self.max_length}")


@MUTANTS.add(EXERCISE, OVERFLOW, "a refused chunk changed the length")
class CacheStoresWhatItRefuses(Right):
    def refuse(self, layer, k):
        pass

    def update(self, layer, k, v):
        if self.pairs[layer] is not None and self.pairs[layer][0].shape[:-2] != k.shape[:-2]:
            raise ValueError("another batch")
        pair = super().update(layer, k, v)
        if self.count(layer) > self.max_length:
            raise ValueError(f"more than max_length = {self.max_length}")
        return pair


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
class CacheInFloat32(Right):
    def update(self, layer, k, v):
        return super().update(layer, k.float(), v.float())


@MUTANTS.add(EXERCISE, COPIES, "the caller's memory, not a copy")
class CacheKeepsTheCallersMemory(Right):
    def update(self, layer, k, v):
        self.refuse(layer, k)
        held = self.pairs[layer]
        self.pairs[layer] = (k, v) if held is None else tuple(map(self.join, held, (k, v)))
        return self.pairs[layer]


@MUTANTS.add(EXERCISE, COPIES, "changed in place")
class CacheClearsItsInput(Right):
    def update(self, layer, k, v):
        pair = super().update(layer, k, v)
        k.zero_()
        return pair


@MUTANTS.add(EXERCISE, INSTANCES, "already holds what another one was given")
class CacheStoreOfTheClass(Right):
    # each cache begins empty, but what it is given goes into the class
    def reset(self):
        type(self).pairs = [None] * self.n_layer


@MUTANTS.worthless(EXERCISE)
class CacheEmpty:
    def __init__(self, n_layer, max_length):
        pass

    def update(self, layer, k, v):
        return None

    def __len__(self):
        return 0

    def reset(self):
        pass


@MUTANTS.worthless(EXERCISE)
class CacheZeros(CacheEmpty):
    def update(self, layer, k, v):
        return k * 0, v * 0


@MUTANTS.worthless(EXERCISE)
class CacheAlwaysRefuses(CacheEmpty):
    def update(self, layer, k, v):
        raise ValueError("max_length = 5, not 3 or 12")


@MUTANTS.worthless(EXERCISE)
class CacheEmptiesItsChunks(Right):
    # counts as it should, and holds nothing but zeros, like the chunks behind it
    def update(self, layer, k, v):
        k.zero_(), v.zero_()
        return super().update(layer, k, v)


@MUTANTS.worthless(EXERCISE)
class CacheOfNaN(Right):
    def update(self, layer, k, v):
        return super().update(layer, k / 0 * 0, v / 0 * 0)


# --- filter_logits --------------------------------------------------------------------------------------------

EXERCISE = "filter_logits"
TEMPERATURE = "temperature divides, and comes first"
TOP_K = "top_k keeps the k largest, and what ties with the last"
TOP_P = "top_p keeps the token that crosses it"
BOTH = "top_p counts within what top_k has left"
ORDER = "the order of the vocabulary does not matter"
EVERYTHING = "k beyond the vocabulary and p = 1 keep everything"
FORBIDDEN = "a forbidden token stays forbidden"
BATCH = "each row of a batch has its own filter"
LARGE = "large logits do not overflow"
REFUSED = "refuses what makes no sense"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"


def refuse(temperature, top_k, top_p):
    if not temperature > 0 or (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
        raise ValueError("a setting makes no sense")


def few(logits, k):
    """Where fewer than k logits are larger."""
    return (logits[..., None, :] > logits[..., :, None]).sum(-1) < k


def mass_above(logits):
    p = logits.softmax(-1)
    return (p[..., None, :] * (p[..., None, :] > p[..., :, None])).sum(-1)


def removed(logits, keep, value=-math.inf):
    return logits.masked_fill(~keep, value)


def right_filter(logits, temperature=1.0, top_k=None, top_p=None, keep_k=few, keep_p=None, value=-math.inf):
    """A right filter, with places to spoil it: which tokens top_k and top_p keep, and what the others become."""
    refuse(temperature, top_k, top_p)
    logits = logits / temperature
    if top_k is not None:
        logits = removed(logits, keep_k(logits, top_k), value)
    if top_p is not None:
        logits = removed(logits, keep_p(logits, top_p) if keep_p else mass_above(logits) < top_p, value)
    return logits


@MUTANTS.add(EXERCISE, TEMPERATURE, "multiplied by the temperature")
def filter_multiplied(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(temperature, top_k, top_p)
    return right_filter(logits, 1 / temperature, top_k, top_p)


@MUTANTS.add(EXERCISE, TEMPERATURE, "the temperature has no effect")
def filter_without_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(temperature, top_k, top_p)
    return right_filter(logits, 1.0, top_k, top_p)


@MUTANTS.add(EXERCISE, TEMPERATURE, "before the temperature; divide first", spares=TOP_P)
def filter_before_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(temperature, top_k, top_p)
    return right_filter(logits, 1.0, top_k, top_p) / temperature


@MUTANTS.add(EXERCISE, TEMPERATURE, "these are log-probabilities")
def filter_log_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p).log_softmax(-1)


@MUTANTS.add(EXERCISE, TEMPERATURE, "these are probabilities")
def filter_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p).softmax(-1)


@MUTANTS.add(EXERCISE, TOP_K, "one too many is kept")
def filter_k_and_one(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, keep_k=lambda logits, k: few(logits, k + 1))


@MUTANTS.add(EXERCISE, TOP_K, "one too few is kept")
def filter_k_less_one(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, keep_k=lambda logits, k: few(logits, max(1, k - 1)))


@MUTANTS.add(EXERCISE, TOP_K, "the smallest are kept")
def filter_smallest(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, keep_k=lambda logits, k: few(-logits, k))


@MUTANTS.add(EXERCISE, TOP_K, "the others became 0")
def filter_zeros(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, value=0.0)


@MUTANTS.add(EXERCISE, TOP_K, "equal logits were not treated alike")
def filter_exactly_k(logits, temperature=1.0, top_k=None, top_p=None):
    def first_k(logits, k):
        kept = logits.argsort(dim=-1, descending=True, stable=True)[..., :k]
        return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, kept, True)

    return right_filter(logits, temperature, top_k, top_p, keep_k=first_k)


@MUTANTS.add(EXERCISE, TOP_K, "equal logits were not treated alike")
def filter_k_different_values(logits, temperature=1.0, top_k=None, top_p=None):
    # the k largest values, each with all tokens that have it
    def values(logits, k):
        larger = [row.unique() for row in logits.reshape(-1, logits.shape[-1])]
        kth = torch.stack([v[-min(k, len(v))] for v in larger]).reshape(*logits.shape[:-1], 1)
        return logits >= kth

    return right_filter(logits, temperature, top_k, top_p, keep_k=values)


def sorted_mass(logits):
    """What stands before each token in descending order, back in the order of the vocabulary."""
    p, order = logits.softmax(-1).sort(descending=True, stable=True)
    return torch.zeros_like(p).scatter(-1, order, p.cumsum(-1) - p)


@MUTANTS.add(EXERCISE, TOP_P, "the token that crosses top_p is dropped")
def filter_drops_the_crossing_token(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, p):
        return mass_above(logits) + logits.softmax(-1) < p

    return right_filter(logits, temperature, top_k, top_p, keep_p=keep)


@MUTANTS.add(EXERCISE, TOP_P, "own probability was compared with top_p")
def filter_own_probability(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, keep_p=lambda logits, p: logits.softmax(-1) >= p)


@MUTANTS.add(EXERCISE, TOP_P, "own probability was compared with 1 − top_p")
def filter_rest_probability(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, keep_p=lambda logits, p: logits.softmax(-1) >= 1 - p)


@MUTANTS.add(EXERCISE, TOP_P, "in the order of the vocabulary; sort them first")
def filter_not_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, p):
        q = logits.softmax(-1)
        return q.cumsum(-1) - q < p

    return right_filter(logits, temperature, top_k, top_p, keep_p=keep)


@MUTANTS.add(EXERCISE, TOP_P, "the mask stayed in sorted order")
def filter_not_scattered_back(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, p):
        q = logits.softmax(-1).sort(descending=True).values
        return q.cumsum(-1) - q < p

    return right_filter(logits, temperature, top_k, top_p, keep_p=keep)


@MUTANTS.add(EXERCISE, BOTH, "the whole vocabulary")
def filter_not_renormalised(logits, temperature=1.0, top_k=None, top_p=None):
    out = right_filter(logits, temperature, top_k)
    if top_p is not None:
        out = removed(out, mass_above(logits / temperature) < top_p)
    refuse(temperature, top_k, top_p)
    return out


@MUTANTS.add(EXERCISE, BOTH, "top_k is ignored when top_p is given", spares=TOP_P)
def filter_p_or_k(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(temperature, top_k, top_p)
    return right_filter(logits, temperature, None if top_p is not None else top_k, top_p)


@MUTANTS.add(EXERCISE, BOTH, "top_p is ignored when top_k is given", spares=TOP_K)
def filter_k_or_p(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(temperature, top_k, top_p)
    return right_filter(logits, temperature, top_k, None if top_k is not None else top_p)


@MUTANTS.add(EXERCISE, BOTH, "the whole vocabulary")
def filter_p_first(logits, temperature=1.0, top_k=None, top_p=None):
    out = right_filter(logits, temperature, None, top_p)
    return out if top_k is None else right_filter(out, 1.0, top_k)


@MUTANTS.add(EXERCISE, ORDER, "all of them are kept or none", spares=TOP_P)
def filter_first_of_equal_tokens(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p, keep_p=lambda logits, p: sorted_mass(logits) < p)


@MUTANTS.add(EXERCISE, EVERYTHING, "with 6 tokens removed 1 of them")
def filter_never_everything(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, k):
        return few(logits, min(k, logits.shape[-1] - 1))

    return right_filter(logits, temperature, top_k, top_p, keep_k=keep)


@MUTANTS.add(EXERCISE, EVERYTHING, "with 6 tokens raised")
def filter_k_too_large(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, k):
        return logits >= logits.topk(k).values[..., -1:]

    return right_filter(logits, temperature, top_k, top_p, keep_k=keep)


@MUTANTS.add(EXERCISE, FORBIDDEN, "NaN where a logit was −inf")
def filter_mask_by_product(logits, temperature=1.0, top_k=None, top_p=None):
    keep = (right_filter(logits, temperature, top_k, top_p) > -math.inf).to(logits.dtype)
    return (logits / temperature * keep).masked_fill(keep == 0, -math.inf) + logits * 0


@MUTANTS.add(EXERCISE, FORBIDDEN, "came back")
def filter_lowest_number_for_minus_infinity(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits.nan_to_num(neginf=-100.0), temperature, top_k, top_p)


@MUTANTS.add(EXERCISE, BATCH, "another result than alone")
def filter_one_threshold_for_all(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, k):
        flat = logits.flatten()
        return logits >= flat.topk(min(k, flat.numel())).values[-1]

    return right_filter(logits, temperature, top_k, top_p, keep_k=keep)


@MUTANTS.add(EXERCISE, BATCH, "another result than alone")
def filter_softmax_over_dim_0(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, p):
        q = logits.softmax(0)
        return (q[..., None, :] * (q[..., None, :] > q[..., :, None])).sum(-1) < p

    return right_filter(logits, temperature, top_k, top_p, keep_p=keep)


@MUTANTS.add(EXERCISE, BATCH, "the vocabulary is the last dimension")
def filter_one_row_only(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, k):
        (size,) = logits.shape
        return logits >= logits.topk(min(k, size)).values[-1]

    return right_filter(logits, temperature, top_k, top_p, keep_k=keep)


@MUTANTS.add(EXERCISE, LARGE, "off by")
def filter_exp_without_shift(logits, temperature=1.0, top_k=None, top_p=None):
    def keep(logits, p):
        q = logits.exp() / logits.exp().sum(-1, keepdim=True)
        return (q[..., None, :] * (q[..., None, :] > q[..., :, None])).sum(-1) < p

    return right_filter(logits, temperature, top_k, top_p, keep_p=keep)


@MUTANTS.add(EXERCISE, REFUSED, "temperature = 0.0")
def filter_any_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(1.0, top_k, top_p)
    return right_filter(logits, temperature if temperature > 0 else 1e-6, top_k, top_p)


@MUTANTS.add(EXERCISE, REFUSED, "top_k = 0 was accepted")
def filter_zero_is_off(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k or None, top_p)


@MUTANTS.add(EXERCISE, REFUSED, "top_p = 1.5 was accepted")
def filter_any_p(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, min(top_p, 1.0) if top_p else top_p)


@MUTANTS.add(EXERCISE, REFUSED, "raised AssertionError; raise a ValueError")
def filter_asserts(logits, temperature=1.0, top_k=None, top_p=None):
    assert temperature > 0
    return right_filter(logits, temperature, top_k, top_p)


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def filter_in_float32(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits.float(), temperature, top_k, top_p)


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def filter_in_place(logits, temperature=1.0, top_k=None, top_p=None):
    refuse(temperature, top_k, top_p)
    logits /= temperature
    return right_filter(logits, 1.0, top_k, top_p)


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def filter_detached(logits, temperature=1.0, top_k=None, top_p=None):
    return right_filter(logits, temperature, top_k, top_p).detach()


@MUTANTS.worthless(EXERCISE)
def filter_nothing(logits, temperature=1.0, top_k=None, top_p=None):
    return logits


@MUTANTS.worthless(EXERCISE)
def filter_all(logits, temperature=1.0, top_k=None, top_p=None):
    return logits * 0 - math.inf


@MUTANTS.worthless(EXERCISE)
def filter_refuses_all(logits, temperature=1.0, top_k=None, top_p=None):
    raise ValueError("this makes no sense")


@MUTANTS.worthless(EXERCISE)
def filter_every_second(logits, temperature=1.0, top_k=None, top_p=None):
    out = logits / 1
    out[..., ::2] = -math.inf
    return out


@MUTANTS.worthless(EXERCISE)
def filter_empties_its_input(logits, temperature=1.0, top_k=None, top_p=None):
    logits.data.zero_()
    return logits / temperature


# --- generate -------------------------------------------------------------------------------------------------

EXERCISE = "generate"
GREEDY = "top_k = 1 writes what transformers writes greedily"
DRAWS = "draws with the model's probabilities"
ENDS = "a row ends at its own end token"
LOG_PROB = "log_prob is what the model itself gives the text"
GENERATOR = "randomness comes from the generator alone"
ROWS = "the rows do not mix"
SHAPE = "the prompt comes first, then exactly n tokens"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves prompt and model as they were"


def tempered(logits, temperature, top_k):
    logits = logits / temperature
    return logits if top_k is None else removed(logits, few(logits, top_k))


class Writer:
    """A right `generate`, for the mutants to spoil in one place."""

    def __call__(self, model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
        self.prompt, self.pad_id, self.eos_id = ids, pad_id, eos_id
        ended = self.begin(ids, eos_id)
        with torch.no_grad():
            total = model(ids).logits[:, -1, 0] * 0
            for _ in range(n):
                logits = model(self.seen(ids)).logits[:, -1]
                drawn_from = self.filter(logits, temperature, top_k)
                token = self.draw(drawn_from, generator)  # (B,)
                own = self.own(logits, drawn_from).gather(-1, token[:, None])[:, 0]
                token = self.end(token, ended)
                total = total + self.count(own, ended, token)
                ids = torch.cat([ids, token[:, None]], dim=1)
                ended = self.after(ended, token)
        return self.result(ids, total)

    def begin(self, ids, eos_id):
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def seen(self, ids):
        return ids

    def filter(self, logits, temperature, top_k):
        return tempered(logits, temperature, top_k)

    def draw(self, logits, generator):
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]

    def own(self, logits, drawn_from):
        return logits.log_softmax(-1)

    def end(self, token, ended):
        return token.masked_fill(ended, self.pad_id)

    def count(self, own, ended, token):
        return own.masked_fill(ended, 0)

    def after(self, ended, token):
        return ended if self.eos_id is None else ended | (token == self.eos_id)

    def result(self, ids, total):
        return ids, total


def spoiled(caught_by, says, spares=None):
    """Register a writer with one method of another kind."""

    def register(kind):
        def answer(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
            return kind()(model, ids, n, generator, temperature, top_k, eos_id, pad_id)

        answer.__name__ = kind.__name__
        return MUTANTS.add(EXERCISE, caught_by, says, spares)(answer)

    return register


@spoiled(GREEDY, "saw only the newest token")
class GenerateNewestTokenOnly(Writer):
    def seen(self, ids):
        return ids[:, -1:]


@spoiled(GREEDY, "chosen from the prompt's logits")
class GeneratePromptOnly(Writer):
    def seen(self, ids):
        return self.prompt


@spoiled(GREEDY, "the most probable token was not taken")
class GenerateOneTokenBehind(Writer):
    def seen(self, ids):
        return ids[:, :-1] if ids.shape[1] > 1 else ids


@spoiled(GREEDY, "the most probable token was not taken")
class GenerateIgnoresTopKOfOne(Writer):
    def filter(self, logits, temperature, top_k):
        return tempered(logits, temperature, None if top_k == 1 else top_k)


@spoiled(DRAWS, "always the most probable token; draw", spares=GREEDY)
class GenerateGreedily(Writer):
    def draw(self, logits, generator):
        return logits.argmax(-1)


@spoiled(DRAWS, "the temperature has no effect", spares=GREEDY)
class GenerateWithoutTemperature(Writer):
    def filter(self, logits, temperature, top_k):
        return tempered(logits, 1.0, top_k)


@spoiled(DRAWS, "multiplied by the temperature")
class GenerateMultiplied(Writer):
    def filter(self, logits, temperature, top_k):
        return tempered(logits, 1 / temperature, top_k)


@spoiled(DRAWS, "top_k has no effect")
class GenerateWithoutTopK(Writer):
    def filter(self, logits, temperature, top_k):
        return tempered(logits, temperature, 1 if top_k == 1 else None)


@spoiled(DRAWS, "every token came equally often")
class GenerateUniformly(Writer):
    def draw(self, logits, generator):
        return torch.multinomial((logits > -math.inf).double(), 1, generator=generator)[:, 0]


@spoiled(DRAWS, "of 4000 draws")
class GenerateOneTooMany(Writer):
    def filter(self, logits, temperature, top_k):
        return tempered(logits, temperature, top_k if top_k in (None, 1) else top_k + 1)


@spoiled(ENDS, "a row goes on after its end token", spares=GREEDY)
class GenerateWithoutEnd(Writer):
    def after(self, ended, token):
        return ended


@spoiled(ENDS, "the end token inside the prompt ended the rows")
class GeneratePromptEnds(Writer):
    def begin(self, ids, eos_id):
        return (ids == eos_id).any(1) if eos_id is not None else super().begin(ids, eos_id)


@spoiled(ENDS, "the end token itself is missing")
class GenerateEndTokenLost(Writer):
    def end(self, token, ended):
        return super().end(token, ended if self.eos_id is None else ended | (token == self.eos_id))

    def count(self, own, ended, token):
        return super().count(own, ended, token)

    def draw(self, logits, generator):
        self.newest = super().draw(logits, generator)
        return self.newest

    def after(self, ended, token):
        return super().after(ended, self.newest)


@spoiled(ENDS, "all rows stopped when the first one ended")
class GenerateAllStopAtOnce(Writer):
    def after(self, ended, token):
        ended = super().after(ended, token)
        return ended | ended.any()


@spoiled(ENDS, "filled with eos_id")
class GenerateFillsWithEnd(Writer):
    def end(self, token, ended):
        return token.masked_fill(ended, self.pad_id if self.eos_id is None else self.eos_id)


@spoiled(ENDS, "a row goes on after its end token")
class GenerateEndsOnlyTogether(Writer):
    def after(self, ended, token):
        ended = super().after(ended, token)
        return ended & ended.all()


@spoiled(LOG_PROB, "the pads behind the end token are counted", spares=ENDS)
class GenerateCountsPads(Writer):
    def own(self, logits, drawn_from):
        self.log_p = logits.log_softmax(-1)
        return self.log_p

    def count(self, own, ended, token):
        return self.log_p.gather(-1, token[:, None])[:, 0]


@spoiled(LOG_PROB, "the end token is not counted")
class GenerateLeavesOutTheEnd(Writer):
    def count(self, own, ended, token):
        return own.masked_fill(self.after(ended, token), 0)


@spoiled(LOG_PROB, "the distribution after temperature and top_k", spares=DRAWS)
class GenerateCountsTheFiltered(Writer):
    def own(self, logits, drawn_from):
        return drawn_from.log_softmax(-1)


@spoiled(LOG_PROB, "the sign is wrong")
class GenerateCountsSurprise(Writer):
    def result(self, ids, total):
        return ids, -total


@spoiled(LOG_PROB, "this is the probability; return its logarithm")
class GenerateReturnsProbability(Writer):
    def result(self, ids, total):
        return ids, total.exp()


@spoiled(LOG_PROB, "the mean over the tokens")
class GenerateReturnsMean(Writer):
    def begin(self, ids, eos_id):
        self.written = torch.zeros(len(ids), device=ids.device, dtype=torch.int64)
        return super().begin(ids, eos_id)

    def count(self, own, ended, token):
        self.written = self.written + (~ended)
        return super().count(own, ended, token)

    def result(self, ids, total):
        return ids, total / self.written.clamp(min=1)


@spoiled(LOG_PROB, "apply log_softmax first")
class GenerateAddsLogits(Writer):
    def own(self, logits, drawn_from):
        return logits


@spoiled(LOG_PROB, "only the last token is counted")
class GenerateCountsTheLast(Writer):
    def own(self, logits, drawn_from):
        self.log_p = logits.log_softmax(-1)
        return self.log_p

    def count(self, own, ended, token):
        self.newest = self.log_p.gather(-1, token[:, None])[:, 0]
        return own * 0

    def result(self, ids, total):
        return ids, self.newest if ids.shape[1] > self.prompt.shape[1] else total


@spoiled(LOG_PROB, "the prompt's tokens are counted")
class GenerateCountsThePrompt(Writer):
    def __call__(self, model, ids, n, generator, *options):
        text, total = super().__call__(model, ids, n, generator, *options)
        if not n:
            return text, total
        log_p = model(ids[:, :-1]).logits.detach().log_softmax(-1)
        return text, total + log_p.gather(-1, ids[:, 1:, None])[..., 0].sum(1)


@spoiled(GENERATOR, "the global random state moved")
class GenerateFromTheGlobalSeed(Writer):
    def draw(self, logits, generator):
        return torch.multinomial(logits.softmax(-1), 1)[:, 0]


@spoiled(GENERATOR, "another seed wrote the same text")
class GenerateWithItsOwnSeed(Writer):
    def __call__(self, model, ids, n, generator, *options):
        return super().__call__(model, ids, n, torch.Generator(ids.device).manual_seed(0), *options)


@spoiled(GENERATOR, "a second call with the same generator wrote the same text")
class GenerateSetsTheGeneratorBack(Writer):
    def __call__(self, model, ids, n, generator, *options):
        state = generator.get_state()
        out = super().__call__(model, ids, n, generator, *options)
        generator.set_state(state)
        return out


@spoiled(ROWS, "log_prob of a row depends on the batch")
class GenerateMeanOfTheBatch(Writer):
    def result(self, ids, total):
        return ids, total.mean().expand_as(total)


@spoiled(ROWS, "writes another text than alone")
class GenerateFirstRowEndsAll(Writer):
    def after(self, ended, token):
        ended = super().after(ended, token)
        return ended | ended.any()


@spoiled(SHAPE, "only the new tokens came back")
class GenerateWithoutPrompt(Writer):
    def result(self, ids, total):
        return ids[:, self.prompt.shape[1] :], total


@spoiled(SHAPE, "ids for n = 1 has shape (2, 5)")
class GenerateAtLeastTwo(Writer):
    def __call__(self, model, ids, n, generator, *options):
        return super().__call__(model, ids, 2 if n == 1 else n, generator, *options)


@spoiled(SHAPE, "n = 0 raised")
class GenerateNothingFails(Writer):
    def begin(self, ids, eos_id):
        self.all = []
        return super().begin(ids, eos_id)

    def count(self, own, ended, token):
        self.all.append(super().count(own, ended, token))
        return own * 0

    def result(self, ids, total):
        return ids, torch.stack(self.all).sum(0)


@spoiled(SHAPE, "one tensor came back")
class GenerateTextOnly(Writer):
    def result(self, ids, total):
        return ids


@spoiled(SHAPE, "log_prob has shape (); it should be (2,)")
class GenerateOneNumber(Writer):
    def result(self, ids, total):
        return ids, total.sum()


@spoiled(DTYPE, "a model in cpu float64 gave log_prob in cpu float32")
class GenerateInFloat32(Writer):
    def result(self, ids, total):
        return ids, total.float()


@spoiled(DTYPE, "came back as cpu int32")
class GenerateShortIntegers(Writer):
    def result(self, ids, total):
        return ids.int(), total


@spoiled(UNTOUCHED, "left in the other")
class GenerateSwitchesToEvaluation(Writer):
    def __call__(self, model, *rest):
        return super().__call__(model.eval(), *rest)


@spoiled(UNTOUCHED, "ids was changed in place")
class GenerateClearsThePrompt(Writer):
    def result(self, ids, total):
        self.prompt.fill_(1)
        return super().result(ids, total)


@MUTANTS.worthless(EXERCISE)
def generate_echo(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    return ids, ids


@MUTANTS.worthless(EXERCISE)
def generate_end_of_prompt(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    return torch.cat([ids, ids[:, -1:].expand(-1, n)], 1), torch.zeros(len(ids), device=ids.device)


@MUTANTS.worthless(EXERCISE)
def generate_constant(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    log_prob = torch.full((len(ids),), -1.0 if n else 0.0, device=ids.device)
    return torch.cat([ids, ids.new_ones(len(ids), n)], 1), log_prob.to(next(model.parameters()).dtype)


@MUTANTS.worthless(EXERCISE)
def generate_without_a_model(model, ids, n, generator, temperature=1.0, top_k=None, eos_id=None, pad_id=0):
    text, log_prob = generate_constant(model, ids, n, generator)
    text[:, ids.shape[1] :].random_(0, 4, generator=generator)
    return text, log_prob * n * math.log(4)


# --- online_softmax -------------------------------------------------------------------------------------------

EXERCISE = "online_softmax"
READ = "after each block it equals softmax over all read so far"
LSE = "lse is the log of the sum of exponentials"
CUT = "the cut into blocks does not matter"
FORBIDDEN = "what may not be read counts for nothing"
LARGE = "large scores do not overflow"
BATCH = "leading dimensions are a batch"
DTYPE = "keeps dtype and device"
UNTOUCHED = "leaves its inputs untouched"
GRADIENTS = "gradients reach every input"


def running(blocks, rescale=True):
    """A right online softmax: yields context, lse, and what they are made of."""
    largest = None
    for scores, values in blocks:
        block_largest = scores.amax(-1)
        new = block_largest if largest is None else torch.maximum(largest, block_largest)
        shift = new.masked_fill(new == -math.inf, 0)
        e = (scores - shift[..., None]).exp()
        if largest is None:
            total, weighted = e.sum(-1), e @ values
        else:
            factor = (largest - shift).exp() if rescale else torch.ones_like(shift)
            total, weighted = total * factor + e.sum(-1), weighted * factor[..., None] + e @ values
        largest = new
        safe = total.masked_fill(total == 0, 1)
        lse = (shift + safe.log()).masked_fill(total == 0, -math.inf)
        yield weighted / safe[..., None], lse, shift, total, weighted


@MUTANTS.add(EXERCISE, READ, "not rescaled when the maximum moves")
def online_without_rescaling(blocks):
    for context, lse, *_ in running(blocks, rescale=False):
        yield context, lse


@MUTANTS.add(EXERCISE, READ, "the softmax of this block alone")
def online_each_block_alone(blocks):
    for block in blocks:
        for context, lse, *_ in running([block]):
            yield context, lse


@MUTANTS.add(EXERCISE, READ, "averaged with equal weights")
def online_mean_of_blocks(blocks):
    total, both = 0, zip(running(blocks), blocks, strict=True)
    for number, ((_, lse, *_), block) in enumerate(both, start=1):
        total = total + next(running([block]))[0]
        yield total / number, lse


@MUTANTS.add(EXERCISE, READ, "not divided by the sum of the exponentials")
def online_not_divided(blocks):
    for _, lse, _, _, weighted in running(blocks):
        yield weighted, lse


@MUTANTS.add(EXERCISE, READ, "context has shape (3,); it should be (3, 4)")
def online_pair_reversed(blocks):
    for context, lse, *_ in running(blocks):
        yield lse, context


@MUTANTS.add(EXERCISE, READ, "gave 1 results; yield one after each block")
def online_only_at_the_end(blocks):
    *_, (context, lse, *_) = running(blocks)
    yield context, lse


@MUTANTS.add(EXERCISE, READ, "one result came for all blocks")
def online_returned(blocks):
    *_, (context, lse, *_) = running(blocks)
    return context, lse


@MUTANTS.add(EXERCISE, READ, "one result came for all blocks")
def online_without_lse(blocks):
    for context, *_ in running(blocks):
        yield context


@MUTANTS.add(EXERCISE, READ, "off by")
def online_maximum_of_the_first_block_in_the_factor(blocks):
    # rescaled by where the maximum was at first, again and again
    first = None
    for _, lse, shift, total, weighted in running(blocks):
        first = shift if first is None else first
        yield weighted * (first - shift).exp()[..., None] / total[..., None], lse


@MUTANTS.add(EXERCISE, LSE, "not rescaled when the maximum moves")
def online_lse_without_rescaling(blocks):
    for (context, *_), (_, lse, *_) in zip(running(blocks), running(blocks, rescale=False), strict=True):
        yield context, lse


@MUTANTS.add(EXERCISE, LSE, "the maximum is missing", spares=READ)
def online_lse_without_maximum(blocks):
    for context, _, _, total, _ in running(blocks):
        yield context, total.log()


@MUTANTS.add(EXERCISE, LSE, "take its logarithm and add the maximum", spares=READ)
def online_sum_for_lse(blocks):
    for context, _, _, total, _ in running(blocks):
        yield context, total


@MUTANTS.add(EXERCISE, LSE, "this is the sum; take its logarithm", spares=READ)
def online_exponential_of_lse(blocks):
    for context, lse, *_ in running(blocks):
        yield context, lse.exp()


@MUTANTS.add(EXERCISE, LSE, "the running maximum", spares=READ)
def online_maximum_for_lse(blocks):
    for context, _, shift, *_ in running(blocks):
        yield context, shift


@MUTANTS.add(EXERCISE, LSE, "subtracted from the log; add it", spares=READ)
def online_maximum_subtracted(blocks):
    for context, _, shift, total, _ in running(blocks):
        yield context, total.log() - shift


@MUTANTS.add(EXERCISE, CUT, "cut into blocks of")
def online_every_block_as_wide_as_the_first(blocks):
    # the mean of a block counts for as many positions as the first block has
    width, largest, total, weighted = blocks[0][0].shape[-1], -math.inf, 0, 0
    for scores, values in blocks:
        new = scores.amax(-1).clamp(min=largest) if isinstance(largest, float) else largest.maximum(scores.amax(-1))
        e = (scores - new[..., None]).exp() * (width / scores.shape[-1])
        factor = (largest - new).exp()
        total, weighted = total * factor + e.sum(-1), weighted * factor[..., None] + e @ values
        largest = new
        yield weighted / total[..., None], new + total.log()


@MUTANTS.add(EXERCISE, CUT, "cut into blocks of [1, 1, 1")
def online_first_column_lost_in_narrow_blocks(blocks):
    for number, (context, lse, *_) in enumerate(running([(s, v) for s, v in blocks])):
        narrow = all(s.shape[-1] == 1 for s, _ in blocks[: number + 1])
        yield (context * 0 + blocks[number][1][..., -1:, :], lse) if narrow else (context, lse)


@MUTANTS.add(EXERCISE, FORBIDDEN, "NaN where a row may read nothing yet")
def online_infinity_minus_infinity(blocks):
    largest, total, weighted = -math.inf, 0, 0
    for scores, values in blocks:
        new = scores.amax(-1).clamp(min=largest) if isinstance(largest, float) else largest.maximum(scores.amax(-1))
        factor = (largest - new).exp()
        e = (scores - new[..., None]).exp()
        total, weighted = total * factor + e.sum(-1), weighted * factor[..., None] + e @ values
        largest = new
        yield weighted / total[..., None], new + total.log()


@MUTANTS.add(EXERCISE, FORBIDDEN, "should give zeros and lse −inf")
def online_lowest_number_for_minus_infinity(blocks):
    low = [(s.clamp(min=torch.finfo(s.dtype).min / 4), v) for s, v in blocks]
    for context, lse, *_ in running(low):
        yield context, lse


@MUTANTS.add(EXERCISE, FORBIDDEN, "the gradient is NaN")
def online_choice_after_the_division(blocks):
    # the values are right, but 0/0 stands behind torch.where, and its gradient is NaN
    for _, lse, _, total, weighted in running(blocks):
        quotient = weighted / total[..., None]
        yield torch.where((total == 0)[..., None], torch.zeros_like(quotient), quotient), lse


@MUTANTS.add(EXERCISE, LARGE, "exp overflowed")
def online_without_maximum(blocks):
    total = weighted = 0
    for scores, values in blocks:
        e = scores.exp()
        total, weighted = total + e.sum(-1), weighted + e @ values
        safe = total.masked_fill(total == 0, 1)
        yield weighted / safe[..., None], safe.log().masked_fill(total == 0, -math.inf)


@MUTANTS.add(EXERCISE, LARGE, "exp overflowed")
def online_maximum_of_the_first_block(blocks):
    first = total = weighted = None
    for scores, values in blocks:
        if first is None:
            first = scores.amax(-1)
            first = first.masked_fill(first == -math.inf, 0)
            total, weighted = torch.zeros_like(first), 0
        e = (scores - first[..., None]).exp()
        total, weighted = total + e.sum(-1), weighted + e @ values
        safe = total.masked_fill(total == 0, 1)
        yield weighted / safe[..., None], (first + safe.log()).masked_fill(total == 0, -math.inf)


@MUTANTS.add(EXERCISE, LARGE, "off by")
def online_weights_from_lse(blocks):
    # a large lse is rounded coarsely: near 12000 to multiples of 0.001 in float32
    for number in range(1, len(blocks) + 1):
        scores = torch.cat([s for s, _ in blocks[:number]], -1)
        lse = scores.logsumexp(-1)
        yield (scores - lse[..., None]).exp() @ torch.cat([v for _, v in blocks[:number]], -2), lse


@MUTANTS.add(EXERCISE, LARGE, "off by")
def online_maximum_starts_at_zero(blocks):
    largest = total = weighted = 0.0
    for scores, values in blocks:
        new = scores.amax(-1).clamp(min=0) if isinstance(largest, float) else largest.maximum(scores.amax(-1))
        factor = (largest - new).exp()
        e = (scores - new[..., None]).exp()
        total, weighted = total * factor + e.sum(-1), weighted * factor[..., None] + e @ values
        largest = new
        safe = total.masked_fill(total == 0, 1)
        yield weighted / safe[..., None], (new + safe.log()).masked_fill(total == 0, -math.inf)


@MUTANTS.add(EXERCISE, BATCH, "count dimensions from the end")
def online_two_dimensions_only(blocks):
    for context, lse, *_ in running([(s, v) for s, v in blocks if s.t() is not None]):
        yield context, lse


@MUTANTS.add(EXERCISE, BATCH, "in the batch gets another result than alone")
def online_first_values_for_all(blocks):
    blocks = [(s, v[(0,) * (v.dim() - 2)].expand_as(v)) for s, v in blocks]
    for context, lse, *_ in running(blocks):
        yield context, lse


@MUTANTS.add(EXERCISE, DTYPE, "float64 went in, cpu float32 came out")
def online_in_float32(blocks):
    for context, lse, *_ in running([(s.float(), v.float()) for s, v in blocks]):
        yield context, lse


@MUTANTS.add(EXERCISE, UNTOUCHED, "argument 1 was changed in place")
def online_in_place(blocks):
    for (context, lse, *_), (scores, _) in zip(running(blocks), blocks, strict=True):
        with torch.no_grad():
            scores -= 1
        yield context, lse


@MUTANTS.add(EXERCISE, GRADIENTS, "lost its gradient")
def online_detached(blocks):
    for context, lse, *_ in running(blocks):
        yield context.detach(), lse.detach()


@MUTANTS.add(EXERCISE, GRADIENTS, "part of the path is cut off")
def online_weights_detached(blocks):
    # as if only the values had to learn
    for context, lse, *_ in running([(s.detach(), v) for s, v in blocks]):
        yield context, lse + 0 * sum(s.clamp(min=-1e3).sum() for s, _ in blocks)


@MUTANTS.add(EXERCISE, LARGE, "off by", spares=READ)
def online_weighs_blocks_by_their_lse(blocks):
    # right on paper, but the lse of large scores has no digits left for the sum
    context = lse = None
    for scores, values in blocks:
        nothing = (scores == -math.inf).all(-1)
        finite = scores.masked_fill(nothing[..., None], 0)
        new = finite.softmax(-1).masked_fill(nothing[..., None], 0) @ values
        new_lse = finite.logsumexp(-1).masked_fill(nothing, -math.inf)
        if context is None:
            context, lse = new, new_lse
        else:
            both = torch.stack([lse, new_lse])
            nothing = (both == -math.inf).all(0)
            both = both.masked_fill(nothing, 0)
            share = both.softmax(0)[..., None]
            context, lse = share[0] * context + share[1] * new, both.logsumexp(0).masked_fill(nothing, -math.inf)
        yield context, lse


@MUTANTS.worthless(EXERCISE)
def online_empties_its_blocks(blocks):
    read = 0
    for scores, values in blocks:
        scores.data.zero_(), values.data.zero_()
    for scores, values in blocks:
        read += scores.shape[-1]
        yield scores @ values, scores[..., 0] + math.log(read)


@MUTANTS.worthless(EXERCISE)
def online_nothing(blocks):
    yield from ()


@MUTANTS.worthless(EXERCISE)
def online_input(blocks):
    yield from blocks


@MUTANTS.worthless(EXERCISE)
def online_zeros(blocks):
    for scores, values in blocks:
        yield (scores[..., :1] * 0) @ (values[..., :1, :] * 0), scores[..., 0] * 0
