// Small helpers that the elements below share. One module, no build.
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

let sayTimer;
/** Says something in the status region, and shows it for a while. Never a secret. */
function say(text) {
  // What is outside a modal dialog is inert and not read out, so a dialog gets a status region of its own.
  const host = all("dialog:modal").at(-1) ?? document.body;
  let status = one(":scope > .toast", host);
  if (!status) {
    status = document.createElement("p");
    status.className = "toast";
    status.role = "status";
    host.append(status);
  }
  clearTimeout(sayTimer);
  status.textContent = "";
  requestAnimationFrame(() => { status.textContent = text; });
  sayTimer = setTimeout(() => { status.textContent = ""; }, 6000);
}

/** Posts to the Console. Asks for a fresh sign-in when the server does, and then once more. */
async function post(url, fields = {}) {
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(url, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams(fields),
      cache: "no-store",
    });
    const json = await answer.json().catch(() => ({}));
    if (answer.ok) return json;
    if (json.code === "fresh_sign_in_required" && attempt === 0 && await confirmItIsYou()) continue;
    if (answer.status === 401) location.reload();
    const problem = new Error(json.detail || "The request failed. Reload the page to see whether anything changed.");
    problem.field = json.field;
    throw problem;
  }
}

// A page that answered a form, with something that is shown once, must not send the form again when it is reloaded.
const onceOnly = one("[data-once], [data-shown-once]");
if (onceOnly) history.replaceState(null, "", onceOnly.dataset.shownOnce ?? location.href);
