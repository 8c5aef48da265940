// A secret: dots until somebody asks. The value comes by a request of its own, stands in one text node, and goes
// when the time is up or the page is left.
const SHOWN_FOR = 60;

customElements.define("secret-field", class extends HTMLElement {
  connectedCallback() {
    this.value = one(".secret-value", this);
    // Without an address the value came with the page, this once: it is taken out of it and kept in memory.
    if (!this.hasAttribute("src") && this.once === undefined) {
      this.once = this.value.textContent;
      this.value.textContent = "•".repeat(16);
    }
    this.dots ??= this.value.textContent;
    this.toggle = one("[aria-pressed]", this);
    this.note = one(".secret-note", this);
    this.copy = one("[data-copy]", this);
    this.end = new AbortController();
    const { signal } = this.end;
    this.toggle.addEventListener("click", (event) => {
      event.preventDefault();
      this.shown ? this.hide() : this.show();
    }, { signal });
    this.copy?.addEventListener("click", () => this.copyValue(), { signal });
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.hide(); }, { signal });
    addEventListener("pagehide", () => this.hide(), { signal });
  }

  disconnectedCallback() {
    this.hide();
    this.end.abort();
  }

  get shown() {
    return this.toggle.ariaPressed === "true";
  }

  async fetchValue() {
    return this.once ?? (await post(this.getAttribute("src"))).value;
  }

  async show() {
    try {
      const value = await this.fetchValue();
      // Whoever has left meanwhile is not shown it.
      if (document.hidden || !this.isConnected) return;
      this.value.textContent = value;
      this.value.dataset.shown = "";
      this.toggle.ariaPressed = "true";
      this.dispatchEvent(new CustomEvent("secret-shown", { bubbles: true }));
      this.keep();
    } catch (problem) {
      this.note.textContent = problem.message;
    }
  }

  /** Shows it for another minute. */
  keep() {
    this.left = SHOWN_FOR;
    clearInterval(this.timer);
    const text = document.createTextNode("");
    const more = document.createElement("button");
    more.type = "button";
    more.className = "link-button";
    more.textContent = "Keep showing";
    more.addEventListener("click", () => this.keep());
    this.note.replaceChildren(text, more);
    const tick = () => {
      text.data = `Hides in ${this.left} s. `;
      if (this.left-- <= 0) this.hide();
    };
    tick();
    this.timer = setInterval(tick, 1000);
  }

  hide() {
    if (!this.shown) return;
    clearInterval(this.timer);
    this.value.textContent = this.dots;
    delete this.value.dataset.shown;
    this.toggle.ariaPressed = "false";
    if (this.note.contains(document.activeElement)) this.toggle.focus();
    this.note.textContent = "";
  }

  async copyValue() {
    const value = this.shown ? Promise.resolve(this.value.textContent) : this.fetchValue();
    try {
      // As a promise, because a browser lets a page write only while it handles the click.
      const blob = value.then((text) => new Blob([text], { type: "text/plain" }));
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
    } catch (problem) {
      const refused = await value.then(() => null, (error) => error);
      this.note.textContent = refused ? refused.message : "Your browser blocked copying. Show the secret and copy it manually.";
      return;
    }
    say("Secret copied");
    const clear = document.createElement("button");
    clear.type = "button";
    clear.className = "link-button";
    clear.textContent = "Clear clipboard";
    clear.addEventListener("click", async () => {
      await navigator.clipboard.writeText("");
      (this.copy ?? this.toggle).focus();
      this.note.textContent = "";
      say("Clipboard cleared");
    });
    clearInterval(this.timer);
    this.note.replaceChildren("Copied. Other apps can read the clipboard. ", clear);
    if (this.shown) this.timer = setTimeout(() => this.hide(), SHOWN_FOR * 1000);
  }
});

/** Copies a text; false where the browser does not let the page. Over plain http there is no clipboard, and the older
    command copies what is selected. */
async function copyText(text, host) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* Neither is there, or it was refused. */ }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden-visually";
  field.setAttribute("aria-hidden", "true");
  host.append(field);
  const focused = document.activeElement;
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}

/** Copies an id, a command, or what was created this once. */
customElements.define("copy-button", class extends HTMLElement {
  connectedCallback() {
    one("button", this).addEventListener("click", async () => {
      const from = document.getElementById(this.getAttribute("for"));
      const copied = await copyText(from ? from.textContent.trim() : this.getAttribute("value"), this);
      if (!copied && from) getSelection().selectAllChildren(from);
      say(copied ? "Copied" : from ? "Your browser blocked copying. The text is selected. Copy it manually." : "Your browser blocked copying. Select the text and copy it manually.");
    });
  }
});
