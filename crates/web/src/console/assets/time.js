// Times: the server writes them in UTC, and the reader's own zone is put first here.
const local = (options) => new Intl.DateTimeFormat("en-GB", options);
const sameYear = (date) => date.getFullYear() === new Date().getFullYear();

/** "Tue 24 Nov, 14:05 CET · 13:05 UTC"; the year where it is not this one, and the day where it differs. */
function fullTime(date) {
  const year = sameYear(date) ? {} : { year: "numeric" };
  const day = { weekday: "short", day: "numeric", month: "short", ...year };
  const here = local(day).format(date);
  const there = local({ ...day, timeZone: "UTC" }).format(date);
  const clock = local({ hour: "2-digit", minute: "2-digit", timeZoneName: "short" }).format(date);
  const utc = local({ hour: "2-digit", minute: "2-digit", timeZone: "UTC" }).format(date);
  if (date.getTimezoneOffset() === 0) return `${here}, ${utc} UTC`;
  return `${here}, ${clock} · ${there === here ? "" : `${there}, `}${utc} UTC`;
}

/** The two largest units: "21 h 14 min". */
function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = units.findIndex(([, size]) => seconds >= size);
  if (at < 0) return "0 s";
  return units.slice(at, at + 2).map(([name, size], i) => {
    const count = Math.floor(i ? (seconds % units[at][1]) / size : seconds / size);
    return count || !i ? `${count} ${name}` : "";
  }).filter(Boolean).join(" ");
}

class Ticking extends HTMLElement {
  connectedCallback() {
    this.date = new Date(this.getAttribute("datetime"));
    this.update();
  }
  attributeChangedCallback() {
    if (this.isConnected) this.connectedCallback();
  }
  static observedAttributes = ["datetime"];
  disconnectedCallback() {
    clearTimeout(this.timer);
  }
  again(seconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.update(), Math.min(seconds, 3600) * 1000);
  }
}

/** How long until a time. Each second only in the last hour; the width stays. */
customElements.define("time-left", class extends Ticking {
  update() {
    const left = Math.max(0, Math.round((this.date - Date.now()) / 1000));
    const text = left ? span(left) : "now";
    if (this.textContent !== text) this.textContent = text;
    if (left) this.again(left <= 3600 ? 1 : left % 60 || 60);
  }
});

/** A time in the reader's zone with UTC beside it; or how long ago, with the time on focus. */
customElements.define("local-time", class extends Ticking {
  update() {
    const full = fullTime(this.date);
    if (!this.hasAttribute("relative")) { this.textContent = full; return; }
    const seconds = Math.round((this.date - Date.now()) / 1000);
    const size = Math.abs(seconds);
    const about = size < 60 ? "a moment" : span(size).split(" ").slice(0, 2).join(" ");
    const year = sameYear(this.date) ? {} : { year: "numeric" };
    const day = local({ day: "numeric", month: "short", ...year }).format(this.date);
    this.textContent = size > 30 * 86400 ? day : seconds > 0 ? `in ${about}` : `${about} ago`;
    this.dataset.full = full;
    this.setAttribute("aria-label", `${this.textContent}, ${full}`);
    this.role = "note";
    this.again(size < 3600 ? 60 : 3600);
  }
});

/** Says when the old secret would end with the hours that stand in a field. */
customElements.define("deadline-preview", class extends HTMLElement {
  connectedCallback() {
    this.field = document.getElementById(this.getAttribute("for"));
    this.end = new AbortController();
    this.field?.addEventListener("input", () => this.update(), { signal: this.end.signal });
    this.timer = setInterval(() => this.update(), 15000);
    this.update();
  }
  disconnectedCallback() {
    this.end.abort();
    clearInterval(this.timer);
  }
  update() {
    const text = this.field.value.trim();
    const hours = Number(text);
    if (text === "" || !Number.isInteger(hours) || hours < 0 || hours > 168) {
      this.textContent = "Choose a whole number of hours from 0 to 168.";
      return;
    }
    const latest = this.getAttribute("no-later-than");
    const asked = new Date(Date.now() + hours * 3600e3);
    const end = latest && new Date(latest) < asked ? new Date(latest) : asked;
    this.textContent = hours === 0
      ? "The old secret ends at once. Callers that still use it fail from that moment."
      : `The old secret ends ${fullTime(end)}.`;
  }
});

/** Buttons that put a number into a field, and show which of them is the one that stands there. */
customElements.define("number-presets", class extends HTMLElement {
  connectedCallback() {
    const field = document.getElementById(this.getAttribute("for"));
    const buttons = all("button", this);
    const mark = () => buttons.forEach((button) => { button.ariaPressed = String(button.value === field.value); });
    field.addEventListener("input", mark);
    for (const button of buttons) {
      button.addEventListener("click", () => {
        field.value = button.value;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      });
    }
    mark();
  }
});
