// What a search found, marked where it was found. The address carries the words, as in `attention.html?highlight=因果掩码`.
const Marks = (() => {
  const HAN = "\\u3400-\\u4dbf\\u4e00-\\u9fff";
  const WORDS = new RegExp(`[${HAN}]+|[^\\s\\p{P}\\p{S}${HAN}]+(?:_[^\\s\\p{P}\\p{S}${HAN}]+)*`, "gu");
  const isHan = (word) => /^[\u3400-\u4dbf\u4e00-\u9fff]/.test(word);
  const NO_PROSE = ".katex, .headerlink, .prompt, button, script, style, template, .live";

  // A text's pieces, and as one string with where each piece begins in it.
  const textOf = (root) => {
    const pieces = [], starts = [];
    let text = "";
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) =>
      node.nodeType === Node.ELEMENT_NODE && node.matches(NO_PROSE) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    for (let node; (node = walker.nextNode()); ) {
      if (node.nodeType !== Node.TEXT_NODE) continue;
      pieces.push(node);
      starts.push(text.length);
      text += node.data;
    }
    return { text, pieces, starts };
  };

  // Where words of a query stand in a text, as [start, end) in order: as search matches them, by Chinese characters in
  // a row or, where these stand nowhere, their pairs; by the stems of other words or, where there is none, by parts.
  const find = (text, query) => {
    const stemmer = new Stemmer(), stems = new Map();
    const stem = (word) => {
      if (!stems.has(word)) stems.set(word, stemmer.stemWord(word.toLowerCase()));
      return stems.get(word);
    };
    const places = (part) => {
      const found = [];
      for (let at = -1; (at = text.indexOf(part, at + 1)) >= 0; ) found.push([at, at + part.length]);
      return found;
    };
    const others = [...text.matchAll(WORDS)].filter(([word]) => !isHan(word));
    const span = (match) => [match.index, match.index + match[0].length];
    const found = [];
    for (const [word] of query.matchAll(WORDS)) {
      if (isHan(word)) {
        const whole = places(word);
        const pairs = Array.from({ length: word.length - 1 }, (_, i) => word.slice(i, i + 2));
        found.push(...(whole.length ? whole : pairs.flatMap(places)));
      } else if (!stopwords.includes(word.toLowerCase()) && !/^\d+$/.test(word)) {
        const wanted = stem(word);
        const same = others.filter(([other]) => stem(other) === wanted);
        const partly = (other) => wanted.length > 2 && stem(other).includes(wanted);
        found.push(...(same.length ? same : others.filter(([other]) => partly(other))).map(span));
      }
    }
    return found.sort((a, b) => a[0] - b[0]);
  };

  const rangesOf = (root, query) => {
    const { text, pieces, starts } = textOf(root);
    const place = (offset) => {
      let i = starts.findLastIndex((start) => start <= offset);
      return [pieces[i], offset - starts[i]];
    };
    return find(text, query).map(([start, end]) => {
      const range = document.createRange();
      const [last, offset] = place(end - 1);
      range.setStart(...place(start));
      range.setEnd(last, offset + 1);
      return range;
    });
  };

  const remove = (button) => {
    CSS.highlights?.delete("search");
    button.remove();
    const url = new URL(location);
    url.searchParams.delete("highlight");
    history.replaceState(null, "", url);
  };

  const show = (query) => {
    const article = document.querySelector("article");
    const ranges = rangesOf(article, query);
    if (!ranges.length) return;
    if (window.Highlight) CSS.highlights.set("search", new Highlight(...ranges));
    const section = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const first = ranges.find((range) => section && section.contains(range.startContainer)) ?? ranges[0];
    const element = first.startContainer.parentElement;
    element.closest("details")?.setAttribute("open", "");
    if (performance.getEntriesByType("navigation")[0]?.type === "navigate") {
      element.scrollIntoView({ block: "center", behavior: "instant" });
    }

    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn search-marks";
    button.textContent = say(`Hide search marks (${ranges.length}) · Esc`, `隐藏搜索标记（${ranges.length} 处）· Esc`);
    button.addEventListener("click", () => remove(button));
    document.querySelector("main").append(button);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && button.isConnected) remove(button);
    });
  };

  const query = new URLSearchParams(location.search).get("highlight");
  if (query && document.querySelector("article")) {
    const script = document.createElement("script"); // the words as the index has them: needed here alone
    script.src = `${document.documentElement.dataset.content_root}_static/language_data.js`;
    script.addEventListener("load", () => show(query));
    document.head.append(script);
  }
  return { find, textOf };
})();
