// The shipped GPT-2 over a text of the reader's: tokens, surprise, what comes next, what each head reads.
"use strict";
(() => {
  const { say, element, begin, slider, button } = Live;
  const { root, data } = begin(say("Try it: GPT-2 in this page", "动手试试：在这一页里运行 GPT-2"));
  const scripts = document.currentScript.src;
  const SHOWN = 10; // tokens in a list
  const SLICE = 12; // milliseconds of work between two looks at what the reader does
  const LONGEST = 20_000; // characters: more than the longest tokens could put into the model's positions

  const loader = element("p", { class: "live-note", role: "status" });
  const load = button(
    say(`Load the model (${megabytes(data.bytes)} MB)`, `载入模型（${megabytes(data.bytes)} MB）`), start);
  const bar = element("progress", { max: data.bytes, value: 0, "aria-label": say("loaded", "已载入"), hidden: "" });
  if (location.protocol === "file:") {
    loader.textContent = say(
      "A browser lets no page from the file system read the model. Run “make serve”, and open the address that it prints.",
      "从文件系统打开的网页，浏览器不让它读取模型。请运行“make serve”，再打开它给出的网址。");
    root.append(loader);
  } else root.append(load, bar, loader);

  function megabytes(bytes) {
    return Math.round(bytes / 1e6);
  }

  async function start() {
    if (!bar.hidden) return; // on its way
    bar.hidden = false;
    bar.value = 0;
    loader.textContent = say("Loading …", "正在载入……");
    try {
      await new Promise((resolve, reject) => document.head.append(
        element("script", { src: new URL("gpt2.js", scripts), onload: resolve, onerror: () => reject(new Error("gpt2.js")) })));
      const [config, tokenizer, weights] = await Promise.all(
        ["config.json", "tokenizer.json", "model.safetensors"].map(fetched));
      const model = new GPT2(await config.json(), safetensors(await weights.arrayBuffer()));
      play(model, new Tokenizer(await tokenizer.json()));
    } catch (error) {
      bar.hidden = true;
      loader.textContent = say(
        `The model could not be loaded (${error.message}). Build the site with “make book”, serve it with “make serve”, and try again.`,
        "模型没有载入（" + error.message + "）。请用“make book”生成网站，用“make serve”打开，再试一次。");
    }
  }

  // A file of the model, which stands beside the editions, once for all of them.
  async function fetched(name) {
    const response = await fetch(new URL(`../../../model/${name}`, scripts));
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
    let ids = [], left = 0; // what is read, and how many characters behind it are not
    let query = 0, layer, head, temperature = 1, run = 0;

    const area = element("textarea", {
      rows: 5, spellcheck: "false", autocapitalize: "off", "aria-label": say("text", "文本"), oninput: () => reread(area.value),
      placeholder: say("Type in English or Chinese.", "输入英文或中文。"),
    });
    const examples = (label, lang) => element("div", { class: "live-buttons" }, element("span", {}, label),
      ...data.examples.filter((example) => example.lang === lang).map((example) =>
        button(say(example.en, example.zh), () => show(example))));
    const strip = element("div", {
      class: "live-tokens live-strip", role: "radiogroup", "aria-label": say("tokens", "词元"), onkeydown: move });
    const layers = slider(say("layer", "层"), { min: 0, max: n_layer - 1, change: (value) => { layer = value; draw(); } });
    const heads = slider(say("head", "头"), { min: 0, max: n_head - 1, change: (value) => { head = value; draw(); } });
    const heat = slider(say("temperature τ", "温度 τ"), {
      min: 0.1, max: 2, step: 0.05, change: (value) => { temperature = value; draw(); } });
    const next = list(), read = list();
    const note = element("p", { class: "live-note", "aria-live": "polite" });

    function list() {
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
      return { node: element("ol", { class: "live-list" }, ...rows), fill, sum: element("p", { class: "live-note" }) };
    }

    // A new text: what it shares with the one before is not read again.
    function reread(text) {
      take(tokenizer.encode(text.slice(0, LONGEST)), text.length);
    }

    function take(all, length) {
      ids = all.slice(0, n_positions);
      left = all.length > n_positions ? length - tokenizer.decode(ids).length : 0;
      query = Math.max(0, ids.length - 1);
      const differs = ids.findIndex((id, i) => id !== model.ids[i]);
      model.keep(Math.min(model.ids.length, differs < 0 ? ids.length : differs));
      compute();
    }

    // Read what is to be read, a slice at a time, so that typing never waits; a newer text ends it.
    async function compute() {
      const mine = ++run;
      do {
        const until = performance.now() + SLICE;
        while (model.ids.length < ids.length && performance.now() < until) model.read(ids[model.ids.length]);
        draw();
        await new Promise((resolve) => setTimeout(resolve));
      } while (mine === run && model.ids.length < ids.length);
    }

    function show(example) {
      [layer, head] = example.head;
      area.value = example.text;
      reread(area.value);
    }

    // Write one more token, picked from the probabilities. It stands as the model wrote it, whatever letters would give.
    function write(pick) {
      if (ids.length === n_positions) return; // the note says so
      while (model.ids.length < ids.length) model.read(ids[model.ids.length]);
      const written = ids.length ? [...ids, pick(probabilities(ids.length - 1))] : [tokenizer.special.values().next().value];
      area.value = tokenizer.decode(written);
      area.scrollTop = area.scrollHeight;
      take(written, area.value.length);
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
      type: "button", role: "radio", class: "live-token", onclick: (event) => choose([...strip.children].indexOf(event.currentTarget)),
    }, element("i"), element("b"), element("small", { class: "live-nats" }), element("small"));

    function draw() {
      layers.input.value = layer;
      layers.show(`${layer}`);
      heads.input.value = head;
      heads.show(`${head}`);
      heat.input.value = temperature;
      heat.show(temperature.toFixed(2));
      const known = query < model.ids.length, weights = known ? model.h[layer].attentions[query][head] : [];

      while (strip.children.length > ids.length) strip.lastChild.remove();
      while (strip.children.length < ids.length) strip.append(cell());
      ids.forEach((id, i) => {
        const token = strip.children[i], [weight, words, nats, number] = token.children;
        const cost = i < model.ids.length ? model.surprises[i] : NaN;
        token.setAttribute("aria-checked", i === query);
        token.tabIndex = i === query ? 0 : -1;
        token.style.setProperty("--cost", `${Math.min(40, 5 * (cost || 0))}%`);
        weight.style.height = `${1.4 * (weights[i] ?? 0)}rem`;
        words.textContent = tokenizer.show(id);
        nats.textContent = Number.isNaN(cost) ? "–" : cost.toFixed(2);
        number.textContent = `${id}`;
      });
      for (const part of [strip, panels]) part.hidden = !ids.length;
      if (known) {
        next.fill(ranked(probabilities(query)).map(([id, share]) => [tokenizer.show(id), share]));
        const most = ranked(weights);
        read.fill(most.map(([j, share]) => [`${j}: ${tokenizer.show(ids[j])}`, share]));
        const others = weights.length - most.length, rest = weights.filter((_, j) => !most.some(([k]) => j === k));
        const sum = (numbers) => numbers.reduce((a, b) => a + b, 0).toFixed(4);
        read.sum.textContent = say(
          `The ${others} others: ${sum(rest)}. All ${weights.length} together: ${sum(weights)}.`,
          "其余 " + others + " 个：" + sum(rest) + "。" + weights.length + " 个合计：" + sum(weights) + "。");
      }
      if (model.ids.length === ids.length) note.textContent = summary();
    }

    const ranked = (shares) =>
      Array.from(shares, (share, i) => [i, share]).sort(([, a], [, b]) => b - a).slice(0, SHOWN);

    function summary() {
      if (!ids.length) return say("There is nothing to read yet: type, or take an example.", "还没有可读的：请输入，或者选一个例子。");
      const total = model.surprises.slice(1).reduce((a, b) => a + b, 0);
      const said = [say(
        `${ids.length} tokens; those after the first cost ${total.toFixed(2)} nats.`,
        ids.length + " 个词元；除第一个以外，共 " + total.toFixed(2) + " 奈特。")];
      const [[best, share]] = ranked(probabilities(query)), [here, then] = [ids[query], best].map((id) => tokenizer.show(id));
      said.push(say(
        `After “${here}” (token ${query}, counted from 0) most likely: “${then}”, ${share.toFixed(4)}.`,
        "“" + here + "”（第 " + query + " 个，从 0 数起）之后，最可能的是“" + then + "”，" + share.toFixed(4) + "。"));
      if (ids.length === n_positions) said.push(say(
        `The model has ${n_positions} positions, and all are taken: the last ${left} characters are left out.`,
        "模型只有 " + n_positions + " 个位置，已经占满：最后 " + left + " 个字符没有读。"));
      return said.join(say(" ", ""));
    }

    const panel = (title, ...parts) => element("div", {}, element("p", { class: "live-title" }, title), ...parts);
    const panels = element("div", { class: "live-panels" },
      panel(say("What comes after the chosen token", "选中的词元之后是什么"), heat.node, next.node),
      panel(say("What a head reads there", "一个头在那里读什么"), layers.node, heads.node, read.node, read.sum));
    loader.remove();
    bar.remove();
    load.replaceWith(
      examples("English", "en"), examples("中文", "zh"), area,
      element("div", { class: "live-buttons" },
        button(say("append the likeliest token", "接上最可能的词元"), () => write(likeliest)),
        button(say("draw a token", "抽一个词元"), () => write(draws))),
      note,
      element("p", { class: "live-note" }, say(
        "Under each token: its surprise in nats, shaded alike, and its id. Choose one; the bars above the tokens are what the head takes from each.",
        "每个词元下面是它的惊讶度（奈特，也用底色表示）和编号。选一个词元；词元上方的竖条，是这个头从各个词元取来的份额。")),
      strip, panels);
    show(data.examples.find((example) => example.lang === say("en", "zh")));
    area.focus();
  }
})();
