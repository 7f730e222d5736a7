// The attention weights of every head of the shipped model over a sentence, with the causal mask and without.
"use strict";
(() => {
  const { chinese, langs, say, element, svg, begin, slider, choice } = Live;
  const { root, data } = begin(say("Try it: what each head reads", "动手试试：每个头在读什么"));
  let text = data[Number(chinese)], layer = 0, head = 3, masked = true, query = text.tokens.length - 1, drawn;

  // One row of softmax over the keys that may be read.
  function row(i) {
    const T = text.tokens.length;
    const scores = text.scores[layer][head].slice(i * T, (i + 1) * T).map((thousandths) => thousandths / 1000);
    const exponentials = scores.map((score, j) => (masked && j > i ? 0 : Math.exp(score)));
    const sum = exponentials.reduce((a, b) => a + b);
    return exponentials.map((exponential) => exponential / sum);
  }

  const sentence = choice(say("text", "文本"), data.map(({ tokens }) => tokens.join("")), (index) => {
    text = data[index];
    query = text.tokens.length - 1;
    draw();
  }, langs);
  const layers = slider(say("layer", "层"), { min: 0, max: text.scores.length - 1, change: (value) => { layer = value; draw(); } });
  const heads = slider(say("head", "头"), { min: 0, max: text.scores[0].length - 1, change: (value) => { head = value; draw(); } });
  const box = element("input", { type: "checkbox", onchange: () => { masked = box.checked; draw(); } });
  box.checked = true;
  const mask = element("label", { class: "live-check" }, box, say("causal mask", "因果掩码"));
  const tokens = element("div", { class: "live-tokens", role: "radiogroup", "aria-label": say("query", "查询") });
  const map = svg("svg", { class: "live-map", "aria-hidden": "true" });
  const note = element("p", { class: "live-note", "aria-live": "polite" });

  function choose(i) {
    query = i;
    draw();
  }
  tokens.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation(); // the page may turn at arrow keys
    choose((query + step + text.tokens.length) % text.tokens.length);
    tokens.children[query].focus();
  });
  map.addEventListener("click", (event) => {
    const area = map.getBoundingClientRect();
    choose(Math.min(text.tokens.length - 1, Math.floor(((event.clientY - area.top) / area.height) * text.tokens.length)));
  });

  function draw() {
    const T = text.tokens.length, weights = text.tokens.map((_, i) => row(i));
    sentence.list.selectedIndex = data.indexOf(text);
    layers.input.value = layer;
    layers.show(`${layer}`);
    heads.input.value = head;
    heads.show(`${head}`);

    tokens.lang = langs[data.indexOf(text)];
    if (drawn !== text) { // else the buttons stay, and with them the focus
      drawn = text;
      tokens.replaceChildren(...text.tokens.map((token, j) =>
        element("button", { type: "button", role: "radio", class: "live-token", onclick: () => choose(j) },
          element("b", {}, token.trim()), element("i"), element("small"))));
    }
    text.tokens.forEach((_, j) => {
      const button = tokens.children[j];
      button.setAttribute("aria-checked", j === query);
      button.tabIndex = j === query ? 0 : -1;
      button.children[1].style.height = `${2.2 * weights[query][j]}rem`;
      button.children[2].textContent = weights[query][j].toFixed(3);
    });
    map.setAttribute("viewBox", `0 0 ${T} ${T}`);
    map.replaceChildren(
      ...weights.flatMap((shares, i) => shares.slice(0, masked ? i + 1 : T).map((share, j) =>
        svg("rect", { class: "cell", x: j + 0.04, y: i + 0.04, width: 0.92, height: 0.92, "fill-opacity": share }))),
      svg("rect", { class: "row", x: 0, y: query, width: T, height: 1 }));

    const best = weights[query].indexOf(Math.max(...weights[query]));
    const ahead = weights[query].slice(query + 1).reduce((a, b) => a + b, 0);
    const [asks, gives] = [text.tokens[query].trim(), text.tokens[best].trim()];
    note.replaceChildren(say(
      `“${asks}” takes most from “${gives}”: ${weights[query][best].toFixed(3)}. From later tokens: ${ahead.toFixed(3)}.`,
      `“${asks}”从“${gives}”取得最多：${weights[query][best].toFixed(3)}。取自后面的词元：${ahead.toFixed(3)}。`,
    ));
  }

  root.append(
    sentence.node, layers.node, heads.node, mask,
    element("p", { class: "live-note" }, say(
      "Choose a token that asks; the bars are what it takes from each. Below, a row for every query.",
      "选一个词元来提问，竖条是它从每个词元取来的份额。下面的方阵里，每行是一个查询。")),
    tokens, note, map,
    element("p", { class: "live-note" }, say(
      "Weights of the book’s own GPT-2. Without the mask only this head looks ahead; what it reads was still computed with the mask.",
      "这是本书自带的 GPT-2 的权重。去掉掩码时，只有这个头往后看；它读到的向量，仍是带着掩码算出来的。")));
  draw();
})();
