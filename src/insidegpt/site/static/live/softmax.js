// Six scores to drag and a temperature: the shares that softmax makes of them.
"use strict";
(() => {
  const { say, element, begin, slider, button } = Live;
  const { root, data } = begin(say("Try it: scores, temperature, shares", "动手试试：分数、温度、份额"));
  let scores, temperature;

  const rows = data.words.map((word, i) => {
    const score = slider(element("span", { lang: "en" }, word), {
      min: -4, max: 4, step: 0.05, name: say(`score of ${word}`, `${word} 的分数`),
      change: (value) => { scores[i] = value; draw(); },
    });
    const bar = element("span", { class: "live-bar" }, element("span"));
    const share = element("span", { class: "live-share" });
    return { score, bar, share, node: element("div", { class: "live-row" }, score.node, bar, share) };
  });
  const heat = slider(say("temperature τ", "温度 τ"), {
    min: -2, max: 2, step: 0.05, // powers of ten
    change: (power) => { temperature = 10 ** power; draw(); },
  });
  const total = element("p", { class: "live-note", "aria-live": "polite" });

  function draw() {
    const highest = Math.max(...scores); // taken away first, so that no exponential overflows
    const range = highest - Math.min(...scores);
    const exponentials = scores.map((score) => Math.exp((score - highest) / temperature));
    const sum = exponentials.reduce((a, b) => a + b);
    rows.forEach(({ score, bar, share }, i) => {
      const value = exponentials[i] / sum;
      score.input.min = Math.min(-4, Math.floor(highest - range));
      score.input.max = Math.max(4, Math.ceil(highest));
      score.input.value = scores[i];
      score.show(scores[i].toFixed(4));
      bar.firstChild.style.width = `${100 * value}%`;
      share.textContent = value.toFixed(4);
    });
    heat.input.value = Math.log10(temperature);
    heat.show(temperature.toPrecision(3));
    const best = data.words[scores.indexOf(highest)];
    total.replaceChildren(say(
      `The scores differ by at most ${range.toFixed(2)}; divided by τ, by ${(range / temperature).toFixed(2)}. ` +
        `${best} gets most.`,
      `分数最多相差 ${range.toFixed(2)}，除以 τ 后相差 ${(range / temperature).toFixed(2)}。${best} 得到的最多。`,
    ));
  }

  function change(how) {
    const changed = scores.map(how);
    if (changed.every((score) => Math.abs(score) < 100)) scores = changed;
    draw();
  }

  function reset() {
    scores = [...data.scores];
    temperature = 1;
    draw();
  }

  root.append(
    element("div", { class: "live-head", "aria-hidden": "true" },
      element("span", {}, say("score", "分数")), element("span", {}, say("share", "份额"))),
    ...rows.map((row) => row.node),
    heat.node,
    element("div", { class: "live-buttons" },
      button(say("add 1 to every score", "所有分数加 1"), () => change((score) => score + 1)),
      button(say("double every score", "所有分数乘 2"), () => change((score) => 2 * score)),
      button(say("as in the chapter", "恢复成书中的数"), reset)),
    total,
  );
  reset();
})();
