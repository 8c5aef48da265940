// A part of the page that the server draws again while the page is looked at. What has not changed stays: focus,
// open dialogs, text that is being typed, a secret that is shown.
const POLL_EVERY = 2000;

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
    this.timer = setTimeout(() => this.poll(), POLL_EVERY * (1 + Math.min(this.failures ?? 0, 14)));
  }
  async poll() {
    if (document.hidden || this.running) return;
    // What a dialog asks for must not change under the hand.
    if (one("dialog[open]", this)) { this.later(); return; }
    this.running = true;
    try {
      const headers = { "Crossfade-Background": "1", Accept: "application/json, text/html", ...(this.tag && { "If-None-Match": this.tag }) };
      const answer = await fetch(this.getAttribute("src"), { headers, cache: "no-store", signal: this.end.signal });
      if (answer.status === 401 && this.failures) { location.reload(); return; }
      if (!answer.ok && answer.status !== 304) throw new Error(String(answer.status));
      this.failures = 0;
      if (answer.ok) {
        this.tag = answer.headers.get("ETag");
        const fresh = document.createElement("template");
        fresh.innerHTML = await answer.text();
        morph(this, fresh.content);
      }
    } catch {
      this.failures = (this.failures ?? 0) + 1;
    } finally {
      this.running = false;
    }
    if (this.isConnected) this.later();
  }
});

const keyOf = (node) => node.id || node.getAttribute?.("data-key") || "";
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
/** What is left alone: it holds what the reader is doing. */
const kept = (node) => node.matches?.("dialog[open], details, secret-field, input, textarea, select, [data-keep]")
  || node.localName === "local-time" || node.localName === "time-left";

/** Makes the children of `have` those of `want`, touching only what differs. */
function morph(have, want) {
  let old = have.firstChild;
  for (const next of [...want.childNodes]) {
    let match = old;
    while (match && !alike(match, next)) match = match.nextSibling;
    // Without a key only the very next node can be the same one.
    if (match && match !== old && !keyOf(next)) match = null;
    if (!match) { have.insertBefore(next, old); continue; }
    while (old !== match) { const gone = old; old = old.nextSibling; gone.remove(); }
    old = match.nextSibling;
    if (match.isEqualNode(next)) continue;
    if (match.nodeType !== Node.ELEMENT_NODE) { match.nodeValue = next.nodeValue; continue; }
    if (match.matches("dialog[open], secret-field, input, textarea, select, [data-keep]")) continue;
    for (const { name } of [...match.attributes]) {
      const own = kept(match) && ["open", "style", "role", "aria-label", "data-full"].includes(name);
      if (!next.hasAttribute(name) && !own) match.removeAttribute(name);
    }
    for (const { name, value } of [...next.attributes]) {
      if (match.getAttribute(name) !== value) match.setAttribute(name, value);
    }
    if (match.localName !== "local-time" && match.localName !== "time-left") morph(match, next);
  }
  while (old) { const gone = old; old = old.nextSibling; gone.remove(); }
}
