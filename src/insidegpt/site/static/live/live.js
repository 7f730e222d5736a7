// What the live figures share: their place, the page's languages, elements and controls.
"use strict";
const Live = (() => {
  const chinese = document.documentElement.lang.startsWith("zh");
  const both = document.querySelector('[data-edition="en-zh"][aria-current]') !== null;
  const langs = ["en", "zh-Hans"]; // of texts that the model reads: it knows Simplified alone

  // Words for the reader: a string or, in the edition of two languages, an element that also reads as one, so that the
  // same words serve as an attribute.
  const say = (en, zh) => {
    if (!both) return chinese ? zh : en;
    const words = element("span", { class: "live-both" },
      element("span", { lang: "en" }, en), " ", element("span", { lang: "zh-CN" }, zh));
    words.toString = () => `${en} · ${zh}`;
    return words;
  };

  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const element = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const svg = (name, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

  // The place that the running script draws into, with a title, and the data to draw.
  const begin = (title) => {
    const root = document.currentScript.parentElement;
    if (chinese) root.lang = "zh-CN";
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", title);
    root.append(element("p", { class: "live-title" }, title));
    return { root, data: JSON.parse(root.dataset.values) };
  };

  // A labelled slider whose words are shown beside it and read aloud: change(value) hears of every move.
  const slider = (label, { min, max, step = 1, name = label, change }) => {
    const shown = element("output", { class: "live-value", "aria-live": "off" });
    const moved = () => change(Number(input.value));
    const input = element("input", { type: "range", min, max, step, "aria-label": name, oninput: moved });
    const show = (words) => {
      shown.value = words;
      input.setAttribute("aria-valuetext", words);
    };
    return { node: element("label", { class: "live-slider" }, element("span", {}, label), input, shown), input, show };
  };

  // A list to choose from: change(index) hears of every choice. An option holds words alone, no elements; optionLangs
  // are the languages of options that do not speak the page's.
  const choice = (label, options, change, optionLangs) => {
    const list = element("select", { onchange: () => change(list.selectedIndex) });
    list.append(...options.map((option, i) => element("option", optionLangs ? { lang: optionLangs[i] } : {}, `${option}`)));
    return { node: element("label", { class: "live-choice" }, element("span", {}, label), list), list };
  };

  const button = (label, press) => element("button", { type: "button", onclick: press }, label);

  return { chinese, langs, say, element, svg, begin, slider, choice, button };
})();
