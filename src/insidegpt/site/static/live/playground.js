// The shipped GPT-2 over a text of the reader's: tokens, surprise, what comes next, what each head reads.
"use strict";
(() => {
  const { chinese, say, element, begin, slider, button } = Live;
  const { root, data } = begin(say("Try it: GPT-2 in this page", "动手试试：在这一页里运行 GPT-2"));
  const scripts = document.currentScript.src;
  const address = (file) => new URL(`${file}?v=${data.digest}`, scripts);
  const SHOWN = 10; // tokens in a list
  const ROOM = 3; // pixels around a token, for the mark of the focus
  const SLICE = 12; // milliseconds of work between two looks at what the reader does

  const loader = element("p", { class: "live-note", role: "status" });
  const size = `${Math.round(data.bytes / 1e6)} MB`;
  const load = button(say(`Load the model (${size})`, `载入模型（${size}）`), start);
  const bar = element("progress", { max: data.bytes, value: 0, "aria-label": say("loaded", "已载入"), hidden: "" });
  if (location.protocol === "file:") {
    loader.replaceChildren(say(
      "A browser lets no page from the file system read the model. Run “make serve”, and open the address that it prints.",
      "从文件系统打开的网页，浏览器不让它读取模型。请运行“make serve”，再打开它给出的网址。"));
    root.append(loader);
  } else root.append(load, bar, loader);

  async function start() {
    if (!bar.hidden) return; // on its way
    bar.hidden = false;
    bar.value = 0;
    loader.replaceChildren(say("Loading …", "正在载入……"));
    try {
      if (typeof GPT2 === "undefined") await script("gpt2.js");
      const [config, tokenizer, weights] = await Promise.all(
        ["config.json", "tokenizer.json", "model.safetensors"].map(fetched));
      const model = new GPT2(await config.json(), safetensors(await weights.arrayBuffer()));
      play(model, new Tokenizer(await tokenizer.json()));
    } catch (error) {
      bar.hidden = true;
      loader.replaceChildren(say(
        `The model could not be loaded (${error.message}). ` +
          "Build the site with “make book”, serve it with “make serve”, and try again.",
        `模型没有载入（${error.message}）。请用“make book”生成网站，用“make serve”打开，再试一次。`));
    }
  }

  const script = (name) => new Promise((resolve, reject) => document.head.append(
    element("script", { src: address(name), onload: resolve, onerror: () => reject(new Error(name)) })));

  // A file of the model, which stands beside the editions, once for all of them.
  async function fetched(name) {
    const response = await fetch(address(`../../../model/${name}`));
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    const chunks = [];
    for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; ) {
      chunks.push(part.value);
      bar.value += part.value.length;
    }
    return new Response(new Blob(chunks));
  }

  function play(model, tokenizer) {
    const { n_positions, n_layer, n_head } = model.config;
    const longest = n_positions * Math.max(...[...tokenizer.tokens.values()].map((token) => token.length));
    let ids = [], unread = ""; // the tokens that are read, and the characters behind them that are not
    let query = 0, layer, head, temperature = 1, run = 0;

    const area = element("textarea", {
      rows: 5, spellcheck: "false", autocapitalize: "off", "aria-label": say("text", "文本"),
      placeholder: say("Type in English or Chinese.", "输入英文或中文。"), oninput: () => reread(area.value),
    });
    const examples = (label, lang) => element("div", { class: "live-buttons" }, element("span", { lang }, label),
      ...data.examples.filter((example) => example.lang === lang).map((example) =>
        button(say(example.en, example.zh), () => show(example))));
    const strip = element("div", {
      class: "live-tokens live-strip", role: "radiogroup", "aria-label": say("tokens", "词元"), onkeydown: move });
    const layers = slider(say("layer", "层"), { min: 0, max: n_layer - 1, change: (value) => { layer = value; draw(); } });
    const heads = slider(say("head", "头"), { min: 0, max: n_head - 1, change: (value) => { head = value; draw(); } });
    const heat = slider(say("temperature τ", "温度 τ"), {
      min: 0.1, max: 2, step: 0.05, change: (value) => { temperature = value; draw(); } });
    const next = list(say("What comes after the chosen token", "选中的词元之后是什么"));
    const read = list(say("What a head reads there", "一个头在那里读什么"));
    const together = element("p", { class: "live-note" });
    const note = element("p", { class: "live-note", "aria-live": "polite" });

    // Shares with their names, the largest first.
    function list(title) {
      const rows = Array.from({ length: SHOWN }, () => element("li", { class: "live-ranked" },
        element("b"), element("span", { class: "live-bar" }, element("span")), element("span", { class: "live-share" })));
      const fill = (shares) => rows.forEach((row, i) => {
        row.hidden = i >= shares.length;
        if (row.hidden) return;
        const [words, share] = shares[i], [token, bar, number] = row.children;
        token.textContent = words;
        bar.firstChild.style.width = `${100 * share}%`;
        number.textContent = share.toFixed(4);
      });
      const heading = element("p", { class: "live-title" }, title);
      return { heading, node: element("ol", { class: "live-list", "aria-label": title }, ...rows), fill };
    }

    const reread = (text) => take(tokenizer.encode(text.slice(0, longest)), text); // no more can find a place

    // A new text with its tokens: what it shares with the one before is neither read nor drawn again.
    function take(all, text) {
      ids = all.slice(0, n_positions);
      unread = all.length > n_positions ? text.slice(tokenizer.decode(ids).length) : "";
      query = Math.max(0, ids.length - 1);
      const differs = ids.findIndex((id, i) => id !== model.ids[i]);
      const first = Math.min(model.ids.length, differs < 0 ? ids.length : differs);
      model.keep(first);
      drawTokens(first);
      compute();
    }

    // Read what is to be read, a slice at a time, so that typing never waits; a newer text ends it.
    async function compute() {
      const mine = ++run;
      for (;;) {
        const first = model.ids.length, until = performance.now() + SLICE;
        while (model.ids.length < ids.length && performance.now() < until) model.read(ids[model.ids.length]);
        drawCosts(first);
        if (model.ids.length === ids.length) return draw();
        await new Promise((resolve) => setTimeout(resolve));
        if (mine !== run) return;
      }
    }

    function show(example) {
      [layer, head] = example.head;
      area.value = example.text;
      reread(area.value);
    }

    // Write one more token, picked from the probabilities. It stays the one that was picked: the same letters, typed,
    // may be other tokens, and half a character cannot be typed at all.
    function write(pick) {
      if (ids.length === n_positions) return; // as the summary says
      while (model.ids.length < ids.length) model.read(ids[model.ids.length]);
      const written = [...ids, ids.length ? pick(probabilities(ids.length - 1)) : model.config.bos_token_id];
      area.value = tokenizer.decode(written);
      area.scrollTop = area.scrollHeight;
      take(written, area.value);
    }

    const likeliest = (shares) => shares.indexOf(shares.reduce((a, b) => Math.max(a, b)));
    const draws = (shares) => {
      let left = Math.random();
      const drawn = shares.findIndex((share) => (left -= share) < 0);
      return drawn < 0 ? likeliest(shares) : drawn; // rounding may leave a little
    };
    const probabilities = (position) => softmax(model.logits[position].map((logit) => logit / temperature));

    function move(event) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation(); // the page may turn at arrow keys
      choose(Math.min(ids.length - 1, Math.max(0, query + step)));
      strip.children[query].focus();
    }

    function choose(i) {
      query = i;
      draw();
    }

    const cell = () => element("button", {
      type: "button", role: "radio", class: "live-token",
      onclick: (event) => choose([...strip.children].indexOf(event.currentTarget)),
    }, element("i"), element("b"), element("small", { class: "live-nats" }), element("small"));

    // The tokens from the first that is new: their words and ids.
    function drawTokens(first) {
      strip.hidden = !ids.length;
      while (strip.children.length > ids.length) strip.lastChild.remove();
      while (strip.children.length < ids.length) strip.append(cell());
      for (let i = first; i < ids.length; i++) {
        const [, words, nats, number] = strip.children[i].children;
        words.textContent = tokenizer.show(ids[i]);
        nats.textContent = "–";
        number.textContent = `${ids[i]}`;
      }
    }

    // The surprise of the tokens that were just read; the first of all has none.
    function drawCosts(first) {
      for (let i = first; i < model.ids.length; i++) {
        const token = strip.children[i], cost = model.surprises[i];
        token.style.setProperty("--cost", `${Math.min(45, 8 * (cost || 0))}%`);
        if (i) token.querySelector(".live-nats").textContent = cost.toFixed(2);
      }
    }

    // What belongs to the chosen token, and the controls.
    function draw() {
      layers.input.value = layer;
      layers.show(`${layer}`);
      heads.input.value = head;
      heads.show(`${head}`);
      heat.input.value = temperature;
      heat.show(temperature.toFixed(2));
      panels.hidden = !ids.length;
      if (model.ids.length === ids.length) note.replaceChildren(summary());
      if (query >= model.ids.length) return; // empty, or not read yet
      const weights = model.h[layer].attentions[query][head];
      ids.forEach((_, i) => {
        const token = strip.children[i];
        token.setAttribute("aria-checked", i === query);
        token.tabIndex = i === query ? 0 : -1;
        token.firstChild.style.setProperty("--weight", `${100 * (weights[i] ?? 0)}%`);
      });
      const { offsetTop: top, offsetHeight: height } = strip.children[query]; // in a long text it may be out of sight
      strip.scrollTop = Math.max(top + height + ROOM - strip.clientHeight, Math.min(top - ROOM, strip.scrollTop));
      next.fill(ranked(probabilities(query)).map(([id, share]) => [tokenizer.show(id), share]));
      const most = ranked(weights);
      read.fill(most.map(([j, share]) => [`${j}: ${tokenizer.show(ids[j])}`, share]));
      const rest = weights.filter((_, j) => !most.some(([k]) => j === k));
      const sum = (numbers) => numbers.reduce((a, b) => a + b, 0).toFixed(4);
      together.replaceChildren(say(
        `The other ${rest.length}: ${sum(rest)}. All ${weights.length} together: ${sum(weights)}.`,
        `其余 ${rest.length} 个：${sum(rest)}。${weights.length} 个合计：${sum(weights)}。`));
    }

    const ranked = (shares) =>
      Array.from(shares, (share, i) => [i, share]).sort(([, a], [, b]) => b - a).slice(0, SHOWN);

    // In a few sentences what the tokens and the lists show.
    function summary() {
      if (!ids.length) {
        return say("There is nothing to read yet: type, or take an example.", "还没有可读的：请输入，或者选一个例子。");
      }
      const total = model.surprises.slice(1).reduce((a, b) => a + b, 0).toFixed(2);
      const [[best, share]] = ranked(probabilities(query)), [here, then] = [ids[query], best].map((id) => tokenizer.show(id));
      const said = [
        [`${ids.length} tokens; those after the first cost ${total} nats.`,
          `${ids.length} 个词元；除第一个以外，共 ${total} 奈特。`],
        [`After “${here}” (token ${query}, counted from 0) most likely: “${then}”, ${share.toFixed(4)}.`,
          `“${here}”（第 ${query} 个，从 0 数起）之后，最可能的是“${then}”，${share.toFixed(4)}。`],
      ];
      if (unread) {
        const opening = unread.slice(0, 12);
        said.push([
          `The model has ${n_positions} positions: the last ${unread.length} characters, from “${opening}” on, are not read.`,
          `模型只有 ${n_positions} 个位置：从“${opening}”起，最后 ${unread.length} 个字符没有读。`]);
      } else if (ids.length === n_positions) {
        said.push([
          `All ${n_positions} positions of the model are taken: no token can follow.`,
          `模型的 ${n_positions} 个位置已经占满：不能再接词元。`]);
      }
      return say(said.map(([en]) => en).join(" "), said.map(([, zh]) => zh).join(""));
    }

    const panels = element("div", { class: "live-panels" },
      element("div", {}, next.heading, heat.node, next.node),
      element("div", {}, read.heading, layers.node, heads.node, read.node, together));
    const focused = document.activeElement === load;
    loader.remove();
    bar.remove();
    load.replaceWith(
      examples("English", "en"), examples("中文", "zh"), area,
      element("div", { class: "live-buttons" },
        button(say("append the likeliest token", "接上最可能的词元"), () => write(likeliest)),
        button(say("draw a token", "抽一个词元"), () => write(draws))),
      note,
      element("p", { class: "live-note" }, say(
        "Under each token: its surprisal in nats, which its shade shows too, and its id. " +
          "Choose one; the bars above the tokens are what the head takes from each.",
        "每个词元下面是它的惊讶度（奈特，也用底色表示）和编号。选一个词元；词元上方的竖条，是这个头从各个词元取来的份额。")),
      strip, panels);
    show(data.examples.find((example) => example.lang === (chinese ? "zh" : "en")));
    if (focused) root.querySelector("button").focus(); // the one that had the focus is gone
  }
})();
