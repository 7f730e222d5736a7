// Reading without a network: a service worker (sw.js) keeps pages once seen, and this edition where the reader asks for it.
if ("serviceWorker" in navigator && location.protocol.startsWith("http")) {
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  const list = new URL("files.json", root).href;
  const menu = document.querySelector(".dropdown-download-buttons .dropdown-menu");

  const offer = async (registration) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm dropdown-item keep-offline";
    const show = (en, zh) => { button.textContent = say(en, zh); };
    const kept = async () => Boolean(await caches.match(list));
    const state = async () => (await kept())
      ? show("Remove the copy for reading offline", "删除离线副本")
      : show("Keep this edition for reading offline", "保存本版，离线阅读");
    button.addEventListener("click", async (event) => {
      event.stopPropagation(); // the menu stays open and shows what happens
      if (button.ariaBusy === "true") return;
      if (await kept()) {
        for (const name of await caches.keys()) {
          const cache = await caches.open(name);
          for (const { url } of await cache.keys()) if (url.startsWith(root.href)) await cache.delete(url);
        }
        return state();
      }
      button.ariaBusy = "true";
      show("Keeping this edition …", "正在保存……");
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => {
        button.ariaBusy = "false";
        if (data) show("✓ This edition can be read offline", "✓ 本版可以离线阅读");
        else show("This edition could not be kept: try again", "没有保存成功：请再试一次");
      };
      registration.active.postMessage(list, [port2]); // a new build's worker may have come since the page was opened
    });
    await state();
    item.append(button);
    menu.append(item);
  };

  navigator.serviceWorker.register(new URL("../sw.js", root), { updateViaCache: "none" }).then(
    () => menu && navigator.serviceWorker.ready.then(offer),
    () => { /* not a site of all editions, or a browser that allows no workers: nothing to offer */ },
  );
}
