// Windows that slide over a text: what each reads, what it scores, and the perplexity that comes out.
"use strict";
(() => {
  const { chinese, langs, say, element, svg, begin, slider, choice } = Live;
  const { root, data } = begin(say("Try it: windows over a text", "动手试试：窗口在文本上滑动"));
  let text = data[Number(chinese)], length = 8, stride = 4, shown = 1;

  // As insidegpt.perplexity.sliding_windows: reads begin … end - 1, scores first … end - 1.
  function slidingWindows() {
    const windows = [], n = text.tokens.length;
    for (let start = 0, end = 0; end < n; start += stride) {
      const before = end;
      end = Math.min(start + length, n);
      windows.push({ begin: start, end, first: Math.max(before, start + 1) });
    }
    return windows;
  }

  const nats = ({ begin, end, first }) => text.nats[begin].slice(first - begin - 1, end - begin - 1);
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

  const language = choice(say("text", "文本"), ["English", "中文"], (index) => { text = data[index]; draw(); }, langs);
  const lengths = slider(say("window", "窗口长度"), { min: 2, max: 16, change: (value) => { length = value; draw(); } });
  const strides = slider(say("stride", "步长"), { min: 1, max: 15, change: (value) => { stride = value; draw(); } });
  const which = slider(say("window shown", "看哪个窗口"), { min: 1, max: 1, change: (value) => { shown = value - 1; draw(); } });
  const tokens = element("div", { class: "live-tokens" });
  const overview = svg("svg", { class: "live-overview", preserveAspectRatio: "none", "aria-hidden": "true" });
  const one = element("p", { class: "live-note", "aria-live": "polite" });
  const all = element("p", { class: "live-note" });
  overview.addEventListener("click", (event) => {
    const box = overview.getBoundingClientRect();
    shown = Math.floor(((event.clientY - box.top) / box.height) * slidingWindows().length);
    draw();
  });

  const state = (token, { begin, end, first }) =>
    token < begin || token >= end ? "unread" : token < first ? "read" : "scored";

  function draw() {
    stride = Math.min(stride, length - 1); // a window must read the token before its first target
    const windows = slidingWindows(), n = text.tokens.length;
    shown = Math.min(shown, windows.length - 1);
    const here = windows[shown], costs = nats(here);

    language.list.selectedIndex = data.indexOf(text);
    lengths.input.value = length;
    lengths.show(`${length}`);
    strides.input.max = length - 1;
    strides.input.value = stride;
    strides.show(`${stride}`);
    which.input.max = windows.length;
    which.input.value = shown + 1;
    which.show(`${shown + 1} / ${windows.length}`);

    tokens.lang = langs[data.indexOf(text)];
    tokens.replaceChildren(...text.tokens.map((token, t) =>
      element("span", { class: `live-token ${state(t, here)}` }, element("b", {}, token.trim()),
        element("small", {}, state(t, here) === "scored" ? costs[t - here.first].toFixed(2) : "\u00a0"))));
    overview.setAttribute("viewBox", `0 0 ${n} ${windows.length}`);
    overview.replaceChildren(
      svg("rect", { class: "here", x: 0, y: shown, width: n, height: 1 }),
      ...windows.flatMap((window, row) => [
        svg("rect", { class: "read", x: window.begin, y: row + 0.1, width: window.first - window.begin, height: 0.8 }),
        svg("rect", { class: "scored", x: window.first, y: row + 0.1, width: window.end - window.first, height: 0.8 }),
      ]));

    const span = (from, to) => (from === to ? `${from}` : `${from} … ${to}`);
    const read = span(here.begin, here.end - 1), scored = span(here.first, here.end - 1);
    one.replaceChildren(say(
      `Window ${shown + 1} reads tokens ${read}, counted from 0, and scores ${scored}: ${sum(costs).toFixed(2)} nats.`,
      `第 ${shown + 1} 个窗口读词元 ${read}（从 0 数起），给 ${scored} 计分：${sum(costs).toFixed(2)} 奈特。`,
    ));
    const perplexity = Math.exp(sum(windows.flatMap(nats)) / (n - 1)).toFixed(4);
    const work = sum(windows.map((window) => window.end - window.begin));
    const least = Math.min(...windows.slice(1).map((window) => window.first - window.begin));
    const context = windows.length < 2 ? ["", ""] : [
      ` After the first window, a scored token has at least ${least} before it.`,
      `从第 2 个窗口起，计分的词元前面至少有 ${least} 个。`];
    all.replaceChildren(say(
      `All ${windows.length} windows: ${work} tokens read, ${n - 1} scored once each. Perplexity ${perplexity}.${context[0]}`,
      `全部 ${windows.length} 个窗口：读 ${work} 个词元，${n - 1} 个词元各计分一次。困惑度 ${perplexity}。${context[1]}`,
    ));
  }

  const key = (name, words) => element("span", { class: `live-key ${name}` }, words);
  root.append(
    language.node, lengths.node, strides.node, which.node,
    element("p", { class: "live-note" }, key("scored", say("scored, with its nats", "计分（下面是奈特数）")), " ",
      key("read", say("only read", "只读"))),
    tokens, overview, one, all);
  draw();
})();
