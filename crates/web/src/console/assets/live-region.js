// A part of the page that the server draws again while the page is looked at. What has not changed stays: focus,
// open dialogs, text that is being typed, a secret that is shown.
const SECONDS = 2;

customElements.define("live-region", class extends HTMLElement {
  connectedCallback() {
    this.end = new AbortController();
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.poll(); }, { signal: this.end.signal });
    this.later();
  }
  disconnectedCallback() {
    this.end.abort();
    clearTimeout(this.timer);
  }
  later() {
    clearTimeout(this.timer);
    const seconds = Number(this.getAttribute("every")) || SECONDS;
    this.timer = setTimeout(() => this.poll(), (this.pause ?? 0) * 1000 + seconds * 1000 * (1 + Math.min(this.failures ?? 0, 14)));
  }
  async poll() {
    if (document.hidden || this.running) return;
    this.running = true;
    try {
      const headers = { "Crossfade-Background": "1", Accept: "application/json, text/html", ...(this.tag && { "If-None-Match": this.tag }) };
      const answer = await fetch(this.getAttribute("src"), { headers, cache: "no-store", signal: this.end.signal });
      if (answer.status === 401 && this.failures) { location.reload(); return; }
      // The server asks for a pause; that is no failure.
      this.pause = answer.status === 429 ? Number(answer.headers.get("Retry-After")) || 1 : 0;
      if (!this.pause && !answer.ok && answer.status !== 304) throw new Error(String(answer.status));
      this.failures = 0;
      if (answer.ok) {
        const fresh = document.createElement("template");
        fresh.innerHTML = await answer.text();
        // What answers is this part alone, or the whole page that it stands in.
        this.tag = this.draw(one("live-region", fresh.content) ?? fresh.content) ? answer.headers.get("ETag") : undefined;
      }
    } catch {
      this.failures = (this.failures ?? 0) + 1;
    } finally {
      this.running = false;
    }
    if (this.isConnected) this.later();
  }
  /** Draws what the server sent; false where an open dialog does not let it. */
  draw(fresh) {
    const open = one("dialog[open]", this);
    const next = (node) => one(`#${CSS.escape(node.id)}`, fresh);
    // What a dialog asks for must not change under the hand: where it is about something that has gone, it says so.
    for (let node = open; node && node !== this; node = node.parentElement) {
      if (node.id && !next(node)) { tellStale(open); return false; }
    }
    morph(this, fresh);
    stopAtTimes(this);
    for (const part of open ? all("[data-live]", open) : []) if (next(part)) morph(part, next(part));
    return true;
  }
});

/** Says once in an open dialog that the page behind it has changed. */
function tellStale(dialog) {
  if (one("[data-stale]", dialog)) return;
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.role = "status";
  notice.dataset.stale = "";
  notice.textContent = "The page has changed since you opened this dialog, so its numbers may be out of date. Cancel to see the current state.";
  one(".dialog-body", dialog)?.prepend(notice);
}

const keyOf = (node) => node.id || node.getAttribute?.("data-key") || "";
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
/** What is left alone, because it holds what the reader is doing. */
const USED = "dialog[open], secret-field, input, textarea, select, [data-keep]";
/** What an element sets on itself, and what it draws by itself. */
const OWN = { BUTTON: ["tabindex"], DETAILS: ["open"], "LOCAL-TIME": ["role", "aria-label", "data-full", "tabindex"], "TIME-LEFT": ["ticking"] };
const DRAWN = "local-time, time-left, deadline-preview, time-preview, drill-preview, token-end";

/** Makes the children of `have` those of `want`, touching only what differs. What has an id is found again wherever
    it stands. */
function morph(have, want) {
  const wanted = new Set([...want.children].map(keyOf));
  for (const child of [...have.children]) if (keyOf(child) && !wanted.has(keyOf(child))) child.remove();
  const keyed = new Map([...have.children].map((child) => [keyOf(child), child]));
  let old = have.firstChild;
  for (const next of [...want.childNodes]) {
    const match = keyOf(next) ? keyed.get(keyOf(next)) : old;
    if (!match || !alike(match, next)) { have.insertBefore(next, old); continue; }
    if (match === old) old = old.nextSibling;
    else if (have.moveBefore) have.moveBefore(match, old);
    else have.insertBefore(match, old);
    if (!match.isEqualNode(next)) change(match, next);
  }
  while (old) { const gone = old; old = old.nextSibling; gone.remove(); }
}

/** Makes one node like another of its kind. */
function change(node, next) {
  if (node.nodeType !== Node.ELEMENT_NODE) { node.nodeValue = next.nodeValue; return; }
  if (node.matches(USED)) return;
  for (const { name } of [...node.attributes]) {
    if (!next.hasAttribute(name) && !OWN[node.nodeName]?.includes(name)) node.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (node.getAttribute(name) !== value && !OWN[node.nodeName]?.includes(name)) node.setAttribute(name, value);
  }
  if (!node.matches(DRAWN)) morph(node, next);
}
