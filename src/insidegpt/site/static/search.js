// Results of Sphinx's search, shown with excerpts of the prose of a page: no LaTeX, no code, the words marked.
const SPHINX_HIGHLIGHT_ENABLED = false; // marks.js marks them on their page

const Excerpt = (() => {
  const LENGTH = 160, BEFORE = 50, BOUNDARY = /[\s，。；：、！？]/;
  const NO_PROSE = ".page-facts, .toctree-wrapper, .exercise-cards, .live, div.highlight, .cell_output, .math.notranslate:is(div), nav";

  // An inline formula in the characters of its MathML where that is plain text; a fraction or matrix would lose its meaning.
  const plain = (formula) => {
    const maths = formula.querySelector("math");
    maths?.querySelectorAll("annotation").forEach((e) => e.remove());
    return !maths || maths.querySelector("mfrac, mtable, munderover, munder, msqrt") ? "…" : maths.textContent;
  };

  const proseOf = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const article = page.querySelector("article");
    const part = (anchor && article.querySelector(`#${CSS.escape(anchor.slice(1))}`)) || article;
    for (const formula of part.querySelectorAll("span.math")) formula.replaceWith(plain(formula));
    for (const element of part.querySelectorAll(`${NO_PROSE}, :is(h1, h2, h3, h4, h5, h6)`)) element.remove();
    return Marks.textOf(part.tagName === "DT" ? part.nextElementSibling : part).text.replace(/\s+/g, " ").trim();
  };

  // The prose around what was sought, where most of it stands together, or the beginning.
  const excerpt = (html, anchor, query) => {
    const text = proseOf(html, anchor);
    const found = Marks.find(text, query);
    const together = found.map(([from]) => new Set(
      found.filter(([start, end]) => start >= from && end <= from + LENGTH - BEFORE).map(([...place]) => text.slice(...place).toLowerCase()),
    ).size);
    let start = Math.max(0, (found[together.indexOf(Math.max(...together))]?.[0] ?? 0) - BEFORE);
    if (start) start += text.slice(start).search(BOUNDARY) + 1;
    let end = Math.min(text.length, start + LENGTH);
    if (end < text.length) end = start + Math.max(text.slice(start, end).search(/[\s，。；：、！？][^\s，。；：、！？]*$/), LENGTH / 2);
    const line = document.createElement("p");
    line.className = "context";
    if (text.slice(start, end).match(/\p{Script=Han}/gu)?.length > (end - start) / 3) line.lang = "zh-CN";
    let at = start;
    line.append(start ? "… " : "");
    for (const [from, to] of found) {
      if (from < at || to > end) continue;
      const mark = document.createElement("mark");
      mark.textContent = text.slice(from, to);
      line.append(text.slice(at, from), mark);
      at = to;
    }
    line.append(text.slice(at, end), end < text.length ? " …" : "");
    return text ? line : "";
  };
  return { excerpt };
})();

Search.query = async (query) => {
  const results = Search._performSearch(...Search._parseQuery(query)).reverse(); // Sphinx has the best one last
  const root = document.documentElement.dataset.content_root;
  const pages = new Map();
  const read = (address) => {
    // A browser lets no script read other files: results from the file system are titles alone.
    if (!pages.has(address)) pages.set(address, fetch(address).then((answer) => answer.text(), () => null));
    return location.protocol === "file:" ? null : pages.get(address);
  };
  const items = results.map(([page, title, anchor, description]) => {
    const item = document.createElement("li"), link = document.createElement("a");
    const address = `${root}${page}.html`;
    link.href = `${address}?highlight=${encodeURIComponent(query)}${anchor ?? ""}`;
    link.innerHTML = title;
    item.append(link);
    if (description) item.append(` (${description.replace(/<[^>]*>/g, "")})`);
    return { item, address, anchor };
  });
  Search.output.append(...items.map(({ item }) => item));
  _finishSearch(results.length);
  for (const { item, address, anchor } of items) {
    const html = await read(address);
    if (html) item.append(Excerpt.excerpt(html, anchor, query));
  }
};
