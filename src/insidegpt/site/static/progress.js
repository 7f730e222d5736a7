// What has been read, kept in this browser alone: a section counts once its end has been on the screen. All editions
// share it, for their sections have the same ids. Where a browser keeps nothing (some do not for files), nothing is shown.
{
  const KEY = "progress";
  const root = new URL(document.documentElement.dataset.content_root, location.href).pathname;
  const pageOf = (pathname) => pathname.slice(root.length).replace(/\.html$/, "");

  const load = () => {
    try { return { read: {}, ...JSON.parse(localStorage.getItem(KEY)) }; } catch (error) { return { read: {} }; }
  };
  const save = (progress) => {
    try { localStorage.setItem(KEY, JSON.stringify(progress)); } catch (error) { /* private mode */ }
  };

  const here = pageOf(location.pathname);
  const pages = [...document.querySelectorAll(".bd-docs-nav a.reference.internal")];
  const sections = [...document.querySelectorAll("article > section > section[id]")];

  const share = (progress, page) => {
    const { of, sections } = progress.read[page] ?? { of: 1, sections: [] };
    return sections.length / of;
  };

  const tick = (link, done) => {
    link.querySelector(".read-to-end")?.remove();
    if (!done) return;
    const mark = document.createElement("span");
    mark.className = "read-to-end";
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", say("read", "已读"));
    mark.textContent = "✓";
    link.append(mark);
  };

  // A tick for what has been read to the end, a thin bar for what has been begun.
  const show = () => {
    const progress = load();
    for (const link of pages) {
      const part = share(progress, pageOf(new URL(link.href).pathname));
      tick(link, part === 1);
      link.classList.toggle("begun", part > 0 && part < 1);
      link.style.setProperty("--read", part);
    }
    for (const link of document.querySelectorAll(".page-toc a[href^='#']")) {
      tick(link, progress.read[here]?.sections.includes(link.hash.slice(1)));
    }
    forget.hidden = Object.keys(progress.read).length === 0;
  };

  const forget = document.createElement("button");
  forget.type = "button";
  forget.className = "btn forget-progress";
  forget.textContent = say("Forget what I have read", "清除阅读记录");
  forget.addEventListener("click", () => {
    try { localStorage.removeItem(KEY); } catch (error) { /* nothing was kept */ }
    show();
  });
  document.querySelector(".bd-docs-nav")?.append(forget);

  // The page counts as its sections, or as one if it has none.
  const ends = new Map(
    (sections.length ? sections : [document.querySelector("article > section[id]")]).filter(Boolean).map((section) => {
      const end = document.createElement("span");
      end.className = "section-end";
      section.append(end);
      return [end, section.id];
    }),
  );
  const words = (heading) => {
    const copy = heading.cloneNode(true);
    copy.querySelectorAll(".section-number, .headerlink").forEach((e) => e.remove());
    return copy.textContent.trim();
  };
  const observer = new IntersectionObserver((entries) => {
    const passed = entries.filter((entry) => entry.isIntersecting).map((entry) => ends.get(entry.target));
    if (!passed.length) return;
    const progress = load();
    const before = progress.read[here]?.sections ?? [];
    progress.read[here] = { of: ends.size, sections: [...new Set([...before, ...passed])] };
    const next = document.getElementById(passed.at(-1)).nextElementSibling;
    progress.last = {
      edition: document.querySelector(".edition-switcher [aria-current]")?.dataset.edition,
      page: here,
      section: next?.matches("section[id]") ? next.id : passed.at(-1),
      title: words(document.querySelector("article h1")),
    };
    save(progress);
    show();
  }, { rootMargin: "-80px 0px 0px 0px" }); // the header covers what is above
  // A page that is opened is not yet read: the reader has to scroll or, where there is nothing to scroll, to stay.
  const STAY = 5000; // milliseconds
  const begin = () => [...ends.keys()].forEach((end) => observer.observe(end));
  addEventListener("scroll", begin, { once: true, passive: true });
  const stayed = () => { if (document.documentElement.scrollHeight <= innerHeight) begin(); };
  requestAnimationFrame(() => setTimeout(stayed, STAY)); // no frame is drawn in a tab that nobody has looked at

  const { last } = load();
  const home = document.querySelector(".bd-sidenav__home-link a");
  if (last && home && here === pageOf(new URL(home.href).pathname) && last.page !== here) {
    const line = document.createElement("p"), link = document.createElement("a");
    link.href = `${root}${last.page}.html#${last.section}`;
    link.textContent = words(pages.find((page) => pageOf(new URL(page.href).pathname) === last.page) ?? home);
    line.className = "go-on";
    line.append(say("Go on where you stopped: ", "接着上次读："), link);
    document.querySelector("article h1").after(line);
  }

  show();
}
