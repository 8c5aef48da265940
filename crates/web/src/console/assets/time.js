// Times: the server writes them in UTC, and the reader's own zone is put first here.
const local = (options) => new Intl.DateTimeFormat("en-GB", options);
const sameYear = (date) => date.getFullYear() === new Date().getFullYear();

/** "Tue 24 Nov, 14:05 CET · 13:05 UTC"; the year where it is not this one, and the day where it differs. */
function fullTime(date) {
  const { here, clock, utc } = times(date, { weekday: "short" });
  return clock ? `${here}, ${clock} · ${utc}` : `${here}, ${utc}`;
}

/** The parts of that. Without a clock the reader's zone is UTC itself. */
function times(date, weekday) {
  const year = sameYear(date) ? {} : { year: "numeric" };
  const day = { ...weekday, day: "numeric", month: "short", ...year };
  const here = local(day).format(date);
  const there = local({ ...day, timeZone: "UTC" }).format(date);
  const utc = `${local({ hour: "2-digit", minute: "2-digit", timeZone: "UTC" }).format(date)} UTC`;
  if (date.getTimezoneOffset() === 0) return { here, utc };
  const clock = local({ hour: "2-digit", minute: "2-digit", timeZoneName: "short" }).format(date);
  return { here, clock, utc: there === here ? utc : `${there}, ${utc}` };
}

/** The same in two lines. */
function twoLines(date) {
  const { here, clock, utc } = times(date, {});
  return [clock ? `${here}, ${clock}` : here, utc].map((line) => {
    const span = document.createElement("span");
    span.textContent = line;
    return span;
  });
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
    this.toggleAttribute("ticking", left > 0 && left <= 3600);
    if (left) this.again(left <= 3600 ? 1 : left % 60 || 60);
  }
});

/** A time in the reader's zone with UTC beside it; or how long ago, with the time on focus (see `stopAtTimes`). */
customElements.define("local-time", class extends Ticking {
  update() {
    if (this.hasAttribute("stacked")) { this.replaceChildren(...twoLines(this.date)); return; }
    const full = fullTime(this.date);
    const isRecorded = this.hasAttribute("recorded");
    if (!this.hasAttribute("relative") && !isRecorded) { this.textContent = full; return; }
    const seconds = Math.round((this.date - Date.now()) / 1000);
    const size = Math.abs(seconds);
    const about = size < 60 ? "a moment" : span(size).split(" ").slice(0, 2).join(" ");
    const year = sameYear(this.date) ? {} : { year: "numeric" };
    const day = local({ day: "numeric", month: "short", ...year }).format(this.date);
    const ago = size > 30 * 86400 ? day : seconds > 0 ? `in ${about}` : `${about} ago`;
    // A record shows when it was, and a list how long ago; each has the other on focus.
    const [shown, other] = isRecorded ? [full, ago] : [ago, full];
    this.textContent = shown;
    this.dataset.full = other;
    this.setAttribute("aria-label", `${shown}, ${other}`);
    this.role = "note";
    this.again(size < 3600 ? 60 : 3600);
  }
});

/** Makes the times of a table one stop of the Tab key; the arrow keys move between them. */
function stopAtTimes(root = document) {
  for (const table of all("table", root)) {
    const times = all("local-time[tabindex]", table);
    const stop = times.find((time) => time === document.activeElement) ?? times[0];
    for (const time of times) time.tabIndex = time === stop ? 0 : -1;
  }
}
stopAtTimes();
document.addEventListener("keydown", (event) => {
  const here = event.target.closest?.("table local-time[tabindex]");
  if (!here) return;
  const times = all("local-time[tabindex]", here.closest("table"));
  const at = times.indexOf(here);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: times.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = times[(to + times.length) % times.length];
  here.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
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
    if (!this.field) return;
    const text = this.field.value.trim();
    const hours = Number(text);
    if (text === "" || !Number.isInteger(hours) || hours < 0 || hours > Number(this.field.max)) {
      this.textContent = `Enter a whole number of hours, 0 to ${this.field.max}.`;
      return;
    }
    const latest = this.getAttribute("no-later-than");
    const asked = new Date(Date.now() + hours * 3600e3);
    const end = latest && new Date(latest) < asked ? new Date(latest) : asked;
    this.textContent = hours === 0
      ? "The old secret ends immediately. Callers that still use it will fail."
      : `The old secret ends ${fullTime(end)}.`;
  }
});

/** Says in the reader's zone when the old secret would end with the time, in UTC, that stands in a field. */
customElements.define("time-preview", class extends HTMLElement {
  connectedCallback() {
    this.field = document.getElementById(this.getAttribute("for"));
    this.end = new AbortController();
    this.field?.addEventListener("input", () => this.update(), { signal: this.end.signal });
    this.update();
  }
  disconnectedCallback() {
    this.end.abort();
  }
  update() {
    const [after, latest] = ["after", "latest"].map((name) => new Date(this.getAttribute(name)));
    const asked = new Date(`${this.field.value}Z`);
    if (Number.isNaN(asked.getTime())) { this.textContent = "Choose a date and time."; return; }
    const full = fullTime(asked);
    if (asked <= after) this.textContent = `${full} is not later than the current deadline.`;
    else if (asked > latest) this.textContent = `${full} is too late. The latest possible deadline is ${fullTime(latest)}.`;
    else this.textContent = `The old secret ends ${full}, ${span(Math.round((asked - after) / 60000) * 60)} later than the current deadline.`;
  }
});

/** Says until when a token that is issued now may be accepted offline. */
customElements.define("token-end", class extends HTMLElement {
  connectedCallback() {
    this.timer = setInterval(() => this.update(), 15000);
    this.update();
  }
  disconnectedCallback() {
    clearInterval(this.timer);
  }
  update() {
    const newest = Date.now() + Number(this.getAttribute("seconds")) * 1000;
    this.textContent = fullTime(new Date(Math.max(newest, new Date(this.getAttribute("latest")).getTime())));
  }
});

/** Says which windows the fields of a drill ask for, and for how much of the time callers are refused. */
customElements.define("drill-preview", class extends HTMLElement {
  connectedCallback() {
    this.end = new AbortController();
    this.closest("form").addEventListener("input", () => this.update(), { signal: this.end.signal });
    this.timer = setInterval(() => this.update(), 15000);
    this.update();
  }
  disconnectedCallback() {
    this.end.abort();
    clearInterval(this.timer);
  }
  field(name) {
    return document.getElementById(`${this.getAttribute("for")}-${name}`).value.trim();
  }
  update() {
    const [length, repeat, every] = ["length_seconds", "repeat", "every_seconds"].map((name) => Number(this.field(name)));
    const start = this.field("starts_at") ? new Date(`${this.field("starts_at")}Z`) : new Date();
    if (![length, repeat].every((it) => Number.isInteger(it) && it > 0) || Number.isNaN(start.getTime())) { this.textContent = "Enter the window length and the number of windows."; return; }
    if (repeat > 1 && !(every > 0)) { this.textContent = "Enter the interval between windows."; return; }
    const end = new Date(start.getTime() + ((repeat - 1) * every + length) * 1000);
    const from = this.field("starts_at") ? fullTime(start) : `now, ${fullTime(start)}`;
    const windows = repeat === 1
      ? `The old secret is refused for ${span(length)} from ${from}, until ${fullTime(end)}.`
      : `The old secret is refused in ${repeat} windows of ${span(length)}, every ${span(every)}, starting ${from}. The last window ends ${fullTime(end)}. Callers are refused ${Math.round(length / every * 100)}% of the time.`;
    const late = end > new Date(this.getAttribute("deadline")) ? " The last window ends after the old secret's deadline. Every window must end by the deadline." : "";
    this.textContent = windows + late;
  }
});

/** Buttons that put a number into a field, and show which of them is set. One stop of the Tab key; arrows move within. */
customElements.define("number-presets", class extends HTMLElement {
  connectedCallback() {
    const field = document.getElementById(this.getAttribute("for"));
    const buttons = all("button", this);
    const stop = (next) => buttons.forEach((button) => { button.tabIndex = button === next ? 0 : -1; });
    const mark = () => {
      buttons.forEach((button) => { button.ariaPressed = String(button.value === field.value); });
      if (!this.contains(document.activeElement)) stop(buttons.find((button) => button.ariaPressed === "true") ?? buttons[0]);
    };
    field.addEventListener("input", mark);
    this.addEventListener("keydown", (event) => {
      const at = buttons.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      const next = buttons[(to + buttons.length) % buttons.length];
      stop(next);
      next.focus();
    });
    for (const button of buttons) {
      button.addEventListener("click", () => {
        field.value = button.value;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      });
    }
    mark();
  }
});

/** The first moment of a day where the reader is, with its distance from UTC. */
function startOfDay(text) {
  const [year, month, day] = text.split("-").map(Number);
  // Where the clocks skip midnight, the day begins with the hour after it.
  const date = new Date(year, month - 1, day);
  const two = (number) => String(Math.abs(number)).padStart(2, "0");
  const ahead = -date.getTimezoneOffset();
  const zone = `${ahead < 0 ? "-" : "+"}${two(Math.trunc(ahead / 60))}:${two(ahead % 60)}`;
  return `${text}T${two(date.getHours())}:${two(date.getMinutes())}:00${zone}`;
}

/** Has the days of a form begin where its reader is; without a script they are days in UTC. */
customElements.define("local-days", class extends HTMLElement {
  connectedCallback() {
    const form = this.closest("form");
    const days = all("input[type=date]", form);
    this.textContent = `Days begin at midnight in your time zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
    for (const field of days) {
      const at = field.dataset.at && new Date(field.dataset.at);
      if (at) field.value = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((it) => String(it).padStart(2, "0")).join("-");
    }
    form.addEventListener("formdata", ({ formData }) => {
      for (const field of days) if (field.value) formData.set(field.name, startOfDay(field.value));
    });
  }
});

/** Offers the time zone of the browser for a field. Without a script it is typed. */
customElements.define("own-zone", class extends HTMLElement {
  connectedCallback() {
    const field = document.getElementById(this.getAttribute("for"));
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!field || !zone) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = `Use ${zone}`;
    const show = () => { this.hidden = field.value.trim() === zone; };
    button.addEventListener("click", () => {
      field.value = zone;
      show();
      field.focus();
    });
    field.addEventListener("input", show);
    show();
    this.replaceChildren(button);
  }
});
