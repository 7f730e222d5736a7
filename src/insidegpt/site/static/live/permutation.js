// A permutation test: labels dealt anew again and again, and a histogram that fills.
"use strict";
(() => {
  const { say, element, svg, begin, choice, button } = Live;
  const { root, data } = begin(say("Try it: deal the labels anew", "动手试试：重新分发标签"));
  const N_BARS = 28, AT_ONCE = 1000;
  let set = data[0], circular = false, right, observed, counts, reached, n, filling;

  // Jensen–Shannon divergence of the two groups' histograms, in nats; rounded, so that equal ones compare as equal.
  function divergence(labels) {
    const groups = [true, false].map((group) => {
      const bins = Array(set.n_bins).fill(0);
      labels.forEach((label, i) => { if (label === group) bins[set.bins[i]] += 1; });
      const size = bins.reduce((a, b) => a + b);
      return bins.map((count) => count / size);
    });
    const kl = (p, m) => p.reduce((sum, share, i) => sum + (share > 0 ? share * Math.log(share / m[i]) : 0), 0);
    const mixture = groups[0].map((share, i) => (share + groups[1][i]) / 2);
    return Number(((kl(groups[0], mixture) + kl(groups[1], mixture)) / 2).toFixed(9));
  }

  function turned(labels) {
    const by = Math.floor(Math.random() * labels.length);
    return [...labels.slice(by), ...labels.slice(0, by)];
  }

  function shuffled(labels) {
    const dealt = [...labels];
    for (let i = dealt.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [dealt[i], dealt[j]] = [dealt[j], dealt[i]];
    }
    return dealt;
  }

  const barOf = (value) => Math.min(N_BARS - 1, Math.floor((value / set.most) * N_BARS));

  function deal(times) {
    for (let i = 0; i < times; i++) {
      const value = divergence(circular ? turned(right) : shuffled(right)), far = value >= observed;
      counts[barOf(value)][far ? "far" : "near"] += 1;
      reached += far;
      n += 1;
    }
    draw();
  }

  // Many at once fill the histogram before the reader's eyes, except where motion is not wanted.
  function fill() {
    cancelAnimationFrame(filling);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return deal(AT_ONCE);
    let left = AT_ONCE;
    const step = () => {
      left -= 20;
      note.setAttribute("aria-busy", left > 0); // read aloud when it is done
      deal(20);
      if (left) filling = requestAnimationFrame(step);
    };
    step();
  }

  function start() {
    cancelAnimationFrame(filling);
    note.setAttribute("aria-busy", false);
    observed = divergence(right);
    counts = Array.from({ length: N_BARS }, () => ({ near: 0, far: 0 }));
    reached = n = 0;
    draw();
  }

  function move(i) {
    const changed = right.with(i, !right[i]);
    if (changed.includes(true) && changed.includes(false)) right = changed; // a group without numbers has no histogram
    start();
  }

  function take(chosen) {
    set = chosen;
    right = [...set.right];
    buttons.hidden = !set.values;
    about.replaceChildren(set.values
      ? say("Eight numbers and their labels. Press a number to move it to the other group.",
        "八个数和各自的标签。按一个数，就把它移到另一组。")
      : say(`What the last layer’s attention adds at ${right.length} tokens, in ${set.n_bins} bins; a token is right where the next one was foreseen.`,
        `最后一层的注意力在 ${right.length} 个词元处的调整，分成 ${set.n_bins} 个箱子；下一个词元被料中的算“对”。`));
    start();
  }

  const which = choice(say("numbers", "数据"), [say("eight numbers", "八个数"), say("the model’s last layer", "模型的最后一层")],
    (index) => take(data[index]));
  const about = element("p", { class: "live-note" });
  const numbers = data[0].values.map((value, i) =>
    element("button", { type: "button", class: "live-number", onclick: () => move(i) },
      element("b", {}, value.toFixed(1)), element("small")));
  const buttons = element("div", { class: "live-tokens" }, ...numbers);
  const box = element("input", { type: "checkbox", onchange: () => { circular = box.checked; start(); } });
  const circle = element("label", { class: "live-check" }, box,
    say("turn the labels in a circle instead of shuffling them", "不打乱标签，而是沿圆圈转动"));
  const plot = svg("svg", { class: "live-plot", viewBox: "0 0 420 162", role: "img" });
  const note = element("p", { class: "live-note", "aria-live": "polite" });

  function draw() {
    if (set.values) numbers.forEach((node, i) => {
      node.setAttribute("aria-pressed", right[i]);
      node.lastChild.replaceChildren(right[i] ? say("right", "对") : say("wrong", "错"));
    });
    const highest = Math.max(1, ...counts.map(({ near, far }) => near + far));
    const x = (value) => 10 + (400 * value) / set.most;
    const bars = counts.flatMap(({ near, far }, i) => {
      const [left, width] = [x((i * set.most) / N_BARS) + 1, 400 / N_BARS - 2];
      const [low, high] = [(110 * near) / highest, (110 * far) / highest];
      return [
        svg("rect", { class: "near", x: left, y: 120 - low, width, height: low }),
        svg("rect", { class: "far", x: left, y: 120 - low - high, width, height: high }),
      ];
    });
    const line = x(observed);
    plot.replaceChildren( // SVG draws no element of HTML: its words are strings
      ...bars,
      svg("line", { class: "axis", x1: 10, y1: 120, x2: 410, y2: 120 }),
      svg("line", { class: "observed", x1: line, y1: 4, x2: line, y2: 120 }),
      ...[0, 0.1, 0.2, 0.4, 0.6].filter((value) => value < set.most).map((value) => svg("text", { x: x(value), y: 137, "text-anchor": "middle" }, value.toFixed(1))),
      svg("text", { x: 210, y: 156, "text-anchor": "middle" }, `${say("divergence (nats)", "散度（奈特）")}`));
    plot.setAttribute("aria-label", say(
      `Histogram of ${n} divergences with labels dealt anew; the observed one is ${observed.toFixed(4)}.`,
      `重新分发标签 ${n} 次所得散度的直方图；观察值是 ${observed.toFixed(4)}。`));
    const p = ((1 + reached) / (1 + n)).toFixed(4);
    note.replaceChildren(say(
      `Observed: ${observed.toFixed(4)}. Of ${n} others ${reached} reach it: p = (1 + ${reached}) / (1 + ${n}) = ${p}.`,
      `观察值：${observed.toFixed(4)}。重新分发 ${n} 次，有 ${reached} 次不小于它：p = (1 + ${reached}) / (1 + ${n}) = ${p}。`));
  }

  root.append(
    which.node, about, buttons, circle,
    element("div", { class: "live-buttons" },
      button(say("once", "一次"), () => deal(1)),
      button(say("1000 times", "1000 次"), fill),
      button(say("start again", "从头再来"), () => take(set))),
    plot, note);
  take(set);
})();
