// The shipped GPT-2 in plain JavaScript: its tokenizer, its weights, and the forward pass that the book explains.
// Nothing here knows of a page or a network: files are handed in as they stand beside the model.
"use strict";

// GPT-2 writes every byte as a letter that can be seen: those that can be seen already stay as they are.
const LETTERS = (() => {
  const visible = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
})();
const BYTES = new Map(LETTERS.map((letter, byte) => [letter, byte]));

// The bytes of a text in UTF-8: encodeURIComponent writes them as %E4, or as a letter of ASCII.
const utf8 = (text) => Array.from(
  encodeURIComponent(text).matchAll(/%(..)|./g), ([one, hex]) => (hex ? parseInt(hex, 16) : one.charCodeAt(0)));

// What the bytes spell: characters as strings, and as numbers those bytes that are part of none.
function characters(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at], length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    const hex = bytes.slice(at, at + length).map((byte) => `%${byte.toString(16).padStart(2, "0")}`);
    try {
      found.push(decodeURIComponent(hex.join("")));
      at += length;
    } catch {
      found.push(first);
      at += 1;
    }
  }
  return found;
}

// Byte-level byte pair encoding, as a tokenizer.json describes it.
class Tokenizer {
  constructor({ model, added_tokens, pre_tokenizer }) {
    this.ids = new Map(Object.entries(model.vocab));
    this.special = new Map(added_tokens.map(({ content, id }) => [content, id]));
    this.tokens = new Map([...this.ids, ...this.special].map(([token, id]) => [id, token]));
    this.ranks = new Map(model.merges.map((pair, rank) => [pair.join(" "), rank])); // no letter is a space
    // \s means something else in JavaScript than in the tokenizer's own regular expressions.
    const pattern = pre_tokenizer.pretokenizers[0].pattern.Regex.replaceAll("\\s", "\\p{White_Space}");
    this.words = new RegExp(pattern, "gu");
    const literal = [...this.special.keys()].map((token) => token.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    this.marks = new RegExp(`(${literal.join("|")})`);
  }

  // The ids of any text; what is no character at all (half a surrogate pair) counts as U+FFFD.
  encode(text) {
    return text.replace(/\p{Surrogate}/gu, "\ufffd").split(this.marks).flatMap((part) =>
      this.special.has(part)
        ? [this.special.get(part)]
        : Array.from(part.matchAll(this.words), ([word]) => this.merge(word)).flat());
  }

  // The tokens of one word: from single bytes on, the pair that was learned first is joined, until there is none.
  merge(word) {
    const parts = utf8(word).map((byte) => LETTERS[byte]);
    const rank = (i) => this.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
    const ranks = parts.slice(1).map((_, i) => rank(i)); // one a pair
    for (;;) {
      const best = ranks.reduce((a, b) => Math.min(a, b), Infinity);
      if (best === Infinity) return parts.map((part) => this.ids.get(part));
      for (let i = ranks.indexOf(best); i >= 0; i = ranks.indexOf(best, i)) {
        parts.splice(i, 2, parts[i] + parts[i + 1]);
        ranks.splice(i, 1);
        if (i > 0) ranks[i - 1] = rank(i - 1);
        if (i < ranks.length) ranks[i] = rank(i);
      }
    }
  }

  bytes(id) {
    const token = this.tokens.get(id);
    return this.special.has(token) ? utf8(token) : Array.from(token, (letter) => BYTES.get(letter));
  }

  // The text of some ids, with U+FFFD for every byte that is part of no character.
  decode(ids) {
    return characters(ids.flatMap((id) => this.bytes(id))).map((c) => (typeof c === "number" ? "\ufffd" : c)).join("");
  }

  // A token as a reader can see it: spaces and line ends as signs, what has no shape by its number, bytes in hexadecimal.
  show(id) {
    const signs = { " ": "␣", "\n": "↵", "\t": "⇥" };
    const number = (n, prefix) => `⟨${prefix}${n.toString(16).toUpperCase().padStart(2, "0")}⟩`;
    return characters(this.bytes(id)).map((c) => {
      if (typeof c === "number") return number(c, "");
      return signs[c] ?? (/[\p{C}\p{Z}]/u.test(c) ? number(c.codePointAt(0), "U+") : c);
    }).join("");
  }
}

// The tensors of a .safetensors file by name, as views on it. The file: length of a header, the header, all numbers.
function safetensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(String.fromCharCode(...new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] = [] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (dtype !== "F32") throw new Error(`${name} is of type ${dtype}, not F32`);
    tensors[name] = { shape, data: new Float32Array(buffer, 8 + length + begin, (end - begin) / 4) };
  }
  return tensors;
}

// The dot product of n numbers of a, from number i on, and n of b, from j on. Four sums at once: n is a multiple of 4.
function dot(a, i, b, j, n) {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (let k = 0; k < n; k += 4) {
    s0 += a[i + k] * b[j + k];
    s1 += a[i + k + 1] * b[j + k + 1];
    s2 += a[i + k + 2] * b[j + k + 2];
    s3 += a[i + k + 3] * b[j + k + 3];
  }
  return s0 + s1 + s2 + s3;
}

// x W + b, with the columns of W one after the other: (n,) → (m,)
function linear(x, { weight, bias }) {
  const n = x.length;
  return Float32Array.from({ length: weight.length / n }, (_, j) => dot(x, 0, weight, j * n, n) + (bias ? bias[j] : 0));
}

const add = (x, y) => x.map((value, i) => value + y[i]);

// (d,) → (d,): mean 0 and variance 1, then a learned gain and bias
function layerNorm(x, { weight, bias }, epsilon) {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  return x.map((value, i) => (weight[i] * (value - mean)) / Math.sqrt(variance + epsilon) + bias[i]);
}

// "gelu_new": GPT-2's approximation of the GELU
const gelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

function softmax(scores) {
  const highest = scores.reduce((a, b) => Math.max(a, b)); // taken away first, so that no exponential overflows
  const exponentials = scores.map((score) => Math.exp(score - highest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((exponential) => exponential / sum);
}

// What a token costs in nats: minus the logarithm of the probability that the logits give it.
function surprise(logits, id) {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  return highest + Math.log(sum) - logits[id];
}

// GPT-2 with the text that it has read so far. It reads a token at a time and keeps what later ones need: the KV cache.
class GPT2 {
  constructor(config, tensors) {
    const tensor = (name) => tensors[`transformer.${name}`];
    const norm = (name) => ({ weight: tensor(`${name}.weight`).data, bias: tensor(`${name}.bias`).data });
    const projection = (name) => ({ weight: transpose(tensor(`${name}.weight`)), bias: tensor(`${name}.bias`).data });
    this.config = config;
    this.wte = tensor("wte.weight").data; // (V, d)
    this.wpe = tensor("wpe.weight").data; // (n_positions, d)
    this.h = Array.from({ length: config.n_layer }, (_, layer) => ({
      ln_1: norm(`h.${layer}.ln_1`),
      attn: { c_attn: projection(`h.${layer}.attn.c_attn`), c_proj: projection(`h.${layer}.attn.c_proj`) },
      ln_2: norm(`h.${layer}.ln_2`),
      mlp: { c_fc: projection(`h.${layer}.mlp.c_fc`), c_proj: projection(`h.${layer}.mlp.c_proj`) },
      keys: [], // one (d,) a token read
      values: [],
      attentions: [], // one (H, T) a token read: T counts the token itself and those before it
    }));
    this.ln_f = norm("ln_f");
    this.ids = [];
    this.logits = []; // one (V,) a token read
    this.surprises = []; // one number a token read
  }

  // Read the next token of the text.
  read(id) {
    const { wte, wpe, h, ln_f } = this, d = this.config.n_embd, epsilon = this.config.layer_norm_epsilon;
    const position = this.ids.length;
    this.surprises.push(position ? surprise(this.logits[position - 1], id) : NaN); // before the first there is nothing
    let x = add(wte.subarray(id * d, (id + 1) * d), wpe.subarray(position * d, (position + 1) * d));
    for (const block of h) {
      x = add(x, this.attention(layerNorm(x, block.ln_1, epsilon), block));
      x = add(x, this.mlp(layerNorm(x, block.ln_2, epsilon), block));
    }
    this.logits.push(linear(layerNorm(x, ln_f, epsilon), { weight: wte })); // the head is the embedding again
    this.ids.push(id);
  }

  // (d,) → (d,)
  attention(x, { attn, keys, values, attentions }) {
    const d = x.length, n_head = this.config.n_head, d_k = d / n_head;
    const qkv = linear(x, attn.c_attn); // all three at once
    const q = qkv.subarray(0, d);
    keys.push(qkv.subarray(d, 2 * d));
    values.push(qkv.subarray(2 * d));
    const z = new Float32Array(d); // the heads side by side
    const weights = [];
    for (let head = 0; head < n_head; head++) {
      const first = head * d_k;
      // Later tokens have no keys yet: that is the causal mask.
      const scores = keys.map((k) => dot(q, first, k, first, d_k) / Math.sqrt(d_k)); // (T,)
      weights[head] = softmax(scores);
      weights[head].forEach((weight, j) => {
        for (let i = first; i < first + d_k; i++) z[i] += weight * values[j][i];
      });
    }
    attentions.push(weights);
    return linear(z, attn.c_proj);
  }

  // (d,) → (d,)
  mlp(x, { mlp }) {
    return linear(linear(x, mlp.c_fc).map(gelu), mlp.c_proj);
  }

  // Forget all but the first tokens: what these left behind does not depend on later ones.
  keep(length) {
    const ofBlocks = this.h.flatMap(({ keys, values, attentions }) => [keys, values, attentions]);
    const kept = [this.ids, this.logits, this.surprises, ...ofBlocks];
    for (const list of kept) list.length = length;
  }
}

// GPT-2 keeps its projections as (n, m); a dot product wants each column's numbers side by side.
function transpose({ shape: [n, m], data }) {
  const turned = new Float32Array(n * m);
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) turned[j * n + i] = data[i * m + j];
  return turned;
}
