// Dialogs open by command and commandfor. Where a browser does not know those yet:
if (!("commandForElement" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[commandfor]");
    const dialog = button && document.getElementById(button.getAttribute("commandfor"));
    if (!dialog) return;
    if (button.getAttribute("command") === "show-modal") {
      dialog.showModal();
      selectText(document.activeElement);
    }
    if (button.getAttribute("command") === "close") dialog.close();
  });
}

// The way out of a refused dialog leads to the page of its form; a script only needs to close it.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("dialog a[data-close]");
  if (!link) return;
  event.preventDefault();
  link.closest("dialog").close();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || !event.target.matches?.("a[role=button]")) return;
  event.preventDefault();
  event.target.click();
});

// A dialog that the server sent open, because what was filled in was refused, becomes a modal one.
const refusedDialogs = all("dialog[open]");
for (const dialog of refusedDialogs) {
  dialog.removeAttribute("open");
  dialog.showModal();
}
const wrongField = one("[aria-invalid=true]");
wrongField?.focus();
selectText(wrongField);

/** Selects what a field holds, so that typing replaces it. */
function selectText(field) {
  if (field?.matches("input") && ["text", "number", "search", "email"].includes(field.type)) field.select();
}

// A dialog opens with the focus in its first field, not on a time above whose note would cover the text.
document.addEventListener("toggle", (event) => {
  if (event.newState !== "open" || !event.target.matches("dialog")) return;
  if (document.activeElement?.matches("local-time")) one("input:not([type=hidden]), select, textarea", event.target)?.focus();
  if (event.target.contains(document.activeElement)) selectText(document.activeElement);
}, true);

/** Removes what was said against a field. */
function forgive(field) {
  const error = document.getElementById(`${field.id}-error`);
  field.removeAttribute("aria-invalid");
  const described = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== `${field.id}-error`).join(" ");
  described ? field.setAttribute("aria-describedby", described) : field.removeAttribute("aria-describedby");
  error?.remove();
}
// What was refused was another value.
document.addEventListener("input", (event) => {
  if (event.target.matches?.("[aria-invalid=true]")) forgive(event.target);
});

/** Empties a dialog that is closed: what was typed into it does not outlive it. */
function renew(dialog) {
  for (const form of all("form", dialog)) {
    for (const field of all("[aria-invalid=true]", form)) forgive(field);
    for (const notice of all("[role=alert]:not([data-error]), [data-stale]", form)) notice.remove();
    form.reset();
    delete form.dataset.leaked;
    if (form.elements.transition_hours) form.elements.transition_hours.readOnly = false;
    if (form.dataset.fresh !== undefined) form.dataset.fresh = "";
    for (const field of form.elements) {
      if (/^confirm_|^code$|password/.test(field.name)) field.value = "";
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }
}
document.addEventListener("close", (event) => {
  const dialog = event.target;
  if (!dialog.matches("dialog") || one("form[data-sending]", dialog)) return;
  freshDialogs.has(dialog.id) ? putFresh(dialog) : renew(dialog);
  // The browser returns the focus to what opened a dialog, but a refused one was opened by the page.
  const isLost = document.activeElement === document.body || dialog.contains(document.activeElement);
  const opener = one(`button[commandfor="${CSS.escape(dialog.id)}"][command=show-modal]`);
  if (refusedDialogs.includes(dialog) && isLost) opener?.focus();
}, true);

// A refused dialog holds what was refused as its first values. The page is read once more for the dialog as it is at first.
const freshDialogs = new Map();
function putFresh(dialog) {
  dialog.replaceChildren(...document.importNode(freshDialogs.get(dialog.id), true).childNodes);
  freshDialogs.delete(dialog.id);
}
async function readFreshDialogs() {
  const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html", "Crossfade-Background": "1" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const dialog of refusedDialogs) {
    const fresh = page.getElementById(dialog.id);
    if (!fresh || fresh.hasAttribute("open")) continue;
    freshDialogs.set(dialog.id, fresh);
    if (!dialog.open && dialog.isConnected) putFresh(dialog);
  }
}
if (refusedDialogs.length) readFreshDialogs().catch(() => {});
// A browser can fill in again what stood there before a reload.
for (const form of all("dialog:not([open]) form")) if (!form.closest("dialog:modal")) form.reset();

/** Opens the dialog "Confirm it is you"; true once the password, and the code of a second factor, or a passkey, was right. Whoever was signed out meanwhile signs in
    with it, and goes on with what they had typed. */
function confirmItIsYou(signedOut = false) {
  const dialog = one("#confirm-it-is-you");
  if (!dialog) return Promise.resolve(false);
  const form = one("form", dialog);
  // A session of a provider is confirmed there: the dialog has a link that leaves the page.
  if (!form) {
    dialog.showModal();
    return new Promise((resolve) => dialog.addEventListener("close", () => resolve(false), { once: true }));
  }
  const password = one("input[type=password]", form);
  // Only for an account with a second factor.
  const code = one("input[name=code]", form);
  const button = one("[type=submit]", form);
  // Only for an account with a passkey.
  const passkey = one("pass-key", form);
  passkey?.setAttribute("begin", signedOut ? "/console/sign-in/passkey/begin" : "/console/confirm/passkey");
  passkey?.refuse("");
  const refused = (text, field = password) => {
    for (const input of [password, code]) {
      const error = input && one("[data-error]", input.closest(".field"));
      if (!error) continue;
      const said = input === field ? text : "";
      one("span", error).textContent = said;
      error.hidden = !said;
      said ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
    }
  };
  const empty = () => { password.value = ""; if (code) code.value = ""; };
  empty();
  refused("");
  const why = one("[data-why]", form);
  why.dataset.why ||= why.textContent;
  why.textContent = signedOut ? "You were signed out. Sign in again to continue. Nothing you typed is lost." : why.dataset.why;
  const sendPasskey = (taken) => signedOut
    ? post("/console/sign-in/passkey", { passkey: taken.passkey, to: "/console/session" })
    : post(form.action, taken);
  const send = () => signedOut
    ? post("/console/sign-in", { email: form.elements.email.value, password: password.value, code: code?.value ?? "", to: "/console/session" })
    : post(form.action, { password: password.value, code: code?.value ?? "" });
  dialog.showModal();
  return new Promise((resolve) => {
    const end = new AbortController();
    dialog.addEventListener("close", () => { end.abort(); empty(); resolve(dialog.returnValue === "confirmed"); }, { once: true });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (button.ariaBusy === "true") return;
      button.ariaBusy = "true";
      const taken = passkey?.take();
      try {
        await (taken?.passkey ? sendPasskey(taken) : send());
        dialog.close("confirmed");
      } catch (problem) {
        if (taken?.passkey) { passkey.refuse(problem.message); return; }
        const field = problem.field === "code" && code ? code : password;
        refused(problem.message, field);
        field.select();
      } finally {
        button.ariaBusy = "false";
      }
    }, { signal: end.signal });
    dialog.returnValue = "";
  });
}

/** Whether a sign-in is fresh enough; asks for the password where it is not. */
async function isFresh() {
  const answer = await fetch("/console/session", { cache: "no-store", headers: { Accept: "application/json", "Crossfade-Background": "1" } });
  const json = await answer.json().catch(() => ({}));
  const signedOut = answer.status === 401;
  return json.fresh === true || ((answer.ok || signedOut) && await confirmItIsYou(signedOut));
}

// A form that needs a fresh sign-in asks for it before it is sent, so that nothing typed is lost; and no form
// is sent twice by a double click.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method === "dialog" || event.defaultPrevented) return;
  if (form.dataset.sending) { event.preventDefault(); return; }
  const submitter = event.submitter;
  if (form.dataset.fresh !== undefined && form.dataset.fresh !== "asked") {
    event.preventDefault();
    if (!await isFresh().catch(() => true)) return;
    form.dataset.fresh = "asked";
    form.requestSubmit(submitter);
    return;
  }
  form.dataset.sending = "yes";
  if (form.method === "post") rememberForm(form, submitter);
  submitter?.setAttribute("aria-busy", "true");
});
// The answer to a refused form is at the address that the form was sent to. With the address of the page of the form, a
// reload and the way back ask for that page, and the browser does not ask whether to send the form again.
function rememberForm(form, submitter) {
  const action = submitter?.getAttribute("formaction") ?? form.getAttribute("action") ?? "";
  try { sessionStorage.setItem("form", JSON.stringify([location.href, new URL(action, location.href).href])); } catch { /* Without storage the browser asks. */ }
}
function returnToPage() {
  try {
    const [page, action] = JSON.parse(sessionStorage.getItem("form") ?? "[]");
    sessionStorage.removeItem("form");
    if (action === location.href) history.replaceState(null, "", page);
  } catch { /* Without storage the browser asks. */ }
}
returnToPage();

// Coming back by the history finds forms that can be sent again.
addEventListener("pageshow", () => {
  for (const form of all("form[data-sending]")) delete form.dataset.sending;
  for (const form of all("form[data-fresh=asked]")) form.dataset.fresh = "";
  for (const button of all("button[aria-busy]")) button.removeAttribute("aria-busy");
});

// The theme changes at once; the cookie that the form sets keeps it.
for (const form of all("form.theme")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = event.submitter;
    for (const button of all("button", form)) button.ariaPressed = String(button === chosen);
    if (chosen.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen.value;
    await post(form.action, { theme: chosen.value }).catch((problem) => say(problem.message));
  });
}
