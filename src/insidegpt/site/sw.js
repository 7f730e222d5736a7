// Lets the book be read without a network: pages once seen, and editions that the reader asked to keep.
// The network always comes first, so that nobody is ever held on an old page.
const PREFIX = "inside-gpt-2 ";
const CACHE = PREFIX + "$version";

const keep = async (list) => {
  const cache = await caches.open(CACHE), answer = await fetch(list, { cache: "no-cache" });
  const files = await answer.clone().json();
  await cache.addAll(files.map((file) => new Request(new URL(file, list), { cache: "no-cache" })));
  await cache.put(list, answer); // last: where the list is kept, everything is
};

// A new build: what the reader kept is fetched anew before the old copy goes. If that fails, the old worker stays.
self.addEventListener("install", (event) => {
  const renew = async () => {
    for (const name of await caches.keys()) {
      if (!name.startsWith(PREFIX) || name === CACHE) continue;
      const kept = await (await caches.open(name)).keys();
      for (const { url } of kept) if (url.endsWith("/files.json")) await keep(url);
    }
    await self.skipWaiting();
  };
  event.waitUntil(renew());
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(clean());
});

self.addEventListener("message", (event) => {
  const answer = (done) => event.ports[0].postMessage(done);
  event.waitUntil(keep(event.data).then(() => answer(true), () => answer(false)));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.replace(/[?#].*/, "").replace(/\/$/, "/index.html"); // one page, whatever is sought on it
  if (request.method !== "GET" || new URL(address).origin !== location.origin) return;
  const fromCache = async () => // this build's alone: pages of one build, files of another do not go together
    (await caches.match(address, { cacheName: CACHE, ignoreVary: true })) ?? Response.error();
  const answer = async () => {
    let fresh;
    try {
      // What carries no digest in its address is asked for anew: what the browser holds of it may be of an older build.
      const anew = request.mode === "navigate" || address.endsWith("/searchindex.js");
      fresh = await (anew ? fetch(request, { cache: "no-cache" }) : fetch(request));
    } catch (error) {
      return fromCache();
    }
    if (fresh.status === 200 && !fresh.redirected) {
      const copy = fresh.clone();
      const store = caches.open(CACHE).then((cache) => cache.put(address, copy));
      event.waitUntil(store.catch(() => {})); // a full disk is no fault
    }
    return fresh;
  };
  event.respondWith(answer());
});
