// A link to a term or a work shows its card: on hover, on focus, on the first tap. Escape closes it (popover="auto").
{
  const templates = new Map(
    [...document.querySelectorAll("template[data-card]")].flatMap((t) => t.dataset.card.split(" ").map((address) => [address, t])),
  );
  const card = document.createElement("div");
  card.popover = "auto";
  card.id = "reading-card";
  card.className = "reading-card";
  card.setAttribute("role", "note");
  let shown = null, closing = false, waiting = 0, touched = false, wasOpen = null;

  const cardOf = (link) => templates.get(link?.getAttribute("href"));
  const linkAt = (event) => {
    const link = event.target.closest?.("article a[href]");
    return cardOf(link) && !card.contains(link) ? link : null;
  };

  const hide = () => shown && card.hidePopover();
  const later = (milliseconds, act) => {
    clearTimeout(waiting);
    waiting = setTimeout(act, milliseconds);
  };

  const place = (link) => {
    const MARGIN = 8, at = link.getClientRects()[0], { width, height } = card.getBoundingClientRect();
    const page = document.documentElement;
    const below = at.bottom + height + MARGIN < page.clientHeight || at.top < height + MARGIN;
    card.style.left = `${Math.max(MARGIN, Math.min(at.left, page.clientWidth - width - MARGIN))}px`;
    card.style.top = `${Math.max(MARGIN, below ? at.bottom + 2 : at.top - height - 2)}px`;
  };

  const show = (link) => {
    clearTimeout(waiting);
    if (shown === link) return;
    hide();
    card.replaceChildren(cardOf(link).content.cloneNode(true));
    link.after(card); // Tab goes from the link into its card
    link.removeAttribute("title"); // the card says it, and more
    link.setAttribute("aria-describedby", card.id);
    card.showPopover();
    shown = link;
    place(link);
  };

  card.addEventListener("beforetoggle", (event) => {
    if (event.newState === "open" || !shown) return;
    shown.removeAttribute("aria-describedby");
    shown = null;
    closing = true; // and the browser hands the focus back to the link
    setTimeout(() => (closing = false));
  });

  if (templates.size && card.showPopover) {
    document.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch") return;
      const link = linkAt(event);
      if (link) later(200, () => show(link));
      else if (card.contains(event.target)) clearTimeout(waiting);
      else if (shown && !card.contains(document.activeElement) && document.activeElement !== shown) later(300, hide);
      else clearTimeout(waiting);
    });
    document.addEventListener("focusin", (event) => {
      const link = linkAt(event);
      if (closing) return;
      if (link?.matches(":focus-visible")) show(link);
      else if (!card.contains(event.target)) hide();
    });
    document.addEventListener("pointerdown", (event) => {
      touched = event.pointerType === "touch";
      wasOpen = shown; // before the browser closes it
    }, true);
    document.addEventListener("click", (event) => {
      const link = touched && linkAt(event);
      if (!link) return;
      event.preventDefault(); // the card holds a link that leads there
      if (wasOpen !== link) show(link);
    });
    const follow = () => {
      if (!shown) return;
      const { top, bottom } = shown.getBoundingClientRect();
      if (bottom < 0 || top > innerHeight) hide();
      else place(shown);
    };
    addEventListener("scroll", follow, { passive: true });
  }
}
