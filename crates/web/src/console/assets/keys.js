// Keys. Single letters can be switched off, for people whose speech or switch software types them (WCAG 2.1.4).
const keysAreOff = () => localStorage.getItem("keys") === "off";
const typing = (node) => node.closest?.("input, textarea, select, [contenteditable]");
let pending;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keysAreOff()) return;
  if (typing(event.target) || one("dialog:modal")) return;
  const key = event.key;
  const found = pending ? one(`[data-hotkey="${CSS.escape(`${pending} ${key}`)}"]`) : key !== "g" && one(`[data-hotkey="${CSS.escape(key)}"]`);
  pending = undefined;
  if (key === "g" && !found) {
    pending = "g";
    setTimeout(() => { pending = undefined; }, 1500);
    return;
  }
  if (!found) return;
  event.preventDefault();
  found.matches("input") ? found.select() : found.click();
});

const keysSwitch = one("#keys-on");
if (keysSwitch) {
  keysSwitch.checked = !keysAreOff();
  keysSwitch.addEventListener("change", () => localStorage.setItem("keys", keysSwitch.checked ? "on" : "off"));
}

// Tabs are links. The arrow keys move between them as people expect of tabs.
for (const list of all("[role=tablist]")) {
  const tabs = all("[role=tab]", list);
  const selected = tabs.findIndex((tab) => tab.ariaSelected === "true");
  tabs.forEach((tab, at) => { tab.tabIndex = at === Math.max(selected, 0) ? 0 : -1; });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    tabs.forEach((tab) => { tab.tabIndex = tab === next ? 0 : -1; });
    next.focus();
  });
}
