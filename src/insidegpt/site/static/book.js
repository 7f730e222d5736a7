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
