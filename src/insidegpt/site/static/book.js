// Words for the reader, in the language of the page or, in the edition of two languages, in both.
const say = (en, zh) =>
  document.querySelector('[data-edition="en-zh"][aria-current]') ? `${en} · ${zh}` : document.documentElement.lang.startsWith("zh") ? zh : en;

// Switching the edition keeps the section that is being read and the words that were sought, and remembers the choice for the landing page.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-edition]");
  if (!link) return;
  try { localStorage.setItem("edition", link.dataset.edition); } catch (error) { /* private mode: nothing to remember */ }
  const reached = [...document.querySelectorAll("article section section[id]")]
    .filter((section) => section.getBoundingClientRect().top < 120)
    .pop();
  link.href = link.href.split(/[?#]/)[0] + location.search + (reached ? "#" + reached.id : location.hash);
});

// A notebook is there to be kept, not to be shown as JSON in another tab.
for (const link of document.querySelectorAll('a[href$=".ipynb"]')) {
  link.download = "";
  link.removeAttribute("target");
}

// The left and right arrow keys turn pages, unless they are needed where the reader is: in a field, a control, or something that scrolls.
document.addEventListener("keydown", (event) => {
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (!rel || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("input, textarea, select, button, summary, dialog, video, audio, [contenteditable], :is([role], [tabindex]):not(main, article, section, nav)")) return;
  const link = document.querySelector(`link[rel="${rel}"]`);
  if (link) location.assign(link.href);
});

// A formula that scrolls is reached by key, as the theme sees to it for code. Its parts grow when their fonts arrive; it does not.
const formulas = new ResizeObserver((changed) => {
  for (const formula of new Set(changed.map(({ target }) => target.closest(".katex-display")))) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
});
for (const part of document.querySelectorAll(".katex-display, .katex-display .katex-base")) formulas.observe(part);
