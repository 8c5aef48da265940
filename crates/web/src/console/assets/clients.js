// A button of a row copies the secret of that row.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy-secret]");
  if (button) document.getElementById(button.dataset.copySecret)?.copyValue();
});

// A leaked secret ends immediately: the transition period is 0 then. What was set before comes back.
function setLeaked(form, isFirst = false) {
  const { compromised, transition_hours: hours } = form.elements;
  const isLeaked = compromised.checked;
  if (isLeaked === (form.dataset.leaked === "yes")) return;
  form.dataset.leaked = isLeaked ? "yes" : "no";
  if (!hours) return;
  if (isLeaked) hours.dataset.before = isFirst ? hours.defaultValue : hours.value;
  hours.value = isLeaked ? "0" : hours.dataset.before ?? "24";
  hours.readOnly = isLeaked;
  hours.dispatchEvent(new Event("input", { bubbles: true }));
}
const leakForms = (root) => all("form", root).filter((form) => form.elements.compromised);
for (const type of ["input", "change"]) {
  document.addEventListener(type, ({ target }) => {
    const form = target.form;
    if (!form?.elements?.compromised) return;
    setLeaked(form);
  });
}
for (const form of leakForms(document)) setLeaked(form, true);

// A page that a key led to starts with the focus where the work goes on: at the result of what was done, at what was
// found, at the tab that was chosen, at the tabs of what was opened.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const leadsOn = link && !link.target && !link.hasAttribute("download") && link.origin === location.origin
    && (link.pathname !== location.pathname || link.search !== location.search);
  if (leadsOn && event.detail === 0) sessionStorage.setItem("focus", link.id || "content");
}, true);
function focusResult() {
  const from = sessionStorage.getItem("focus");
  sessionStorage.removeItem("focus");
  const isTaken = document.activeElement && document.activeElement !== document.body;
  if (isTaken || one("dialog:modal") || one("[autofocus]:not(dialog [autofocus])")) return;
  if (location.hash) { focusPart(); return; }
  const said = one("[data-once]") ?? one("main .notice[role=alert], main .empty [data-found]");
  const tab = from === "content" && one("main [role=tab][aria-selected=true]");
  const chosen = from && document.getElementById(from);
  const made = one("[data-once]") && one("[data-result] button");
  // What is shown once and never again comes first.
  const once = one("[data-shown-once] copy-button button");
  const result = once ?? one("[data-focus]") ?? made ?? said ?? (tab || chosen);
  if (!result) return;
  // What was said is read out with what is focused.
  if (made && said) {
    said.id ||= "said";
    made.setAttribute("aria-describedby", `${made.getAttribute("aria-describedby") ?? ""} ${said.id}`.trim());
  }
  if (result.tabIndex < 0 && !result.matches("[role=tab]")) result.tabIndex = -1;
  result.focus();
}
focusResult();

/** Focuses the part of the page that the address names, so that keys go on from there; or opens the dialog Rotate. */
function focusPart() {
  const part = document.getElementById(location.hash.slice(1));
  if (part?.id === "rotate" && part.matches("dialog")) {
    history.replaceState(null, "", location.pathname + location.search);
    one("button[commandfor=rotate]")?.click();
    return;
  }
  if (!part || part.matches("dialog, tr")) return;
  if (part.tabIndex < 0) part.tabIndex = -1;
  part.focus();
}
addEventListener("hashchange", focusPart);
