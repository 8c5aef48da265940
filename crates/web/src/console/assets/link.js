// The code stands behind the "#" of the address, where no server and no log sees it. Move it into the form, and out
// of the address bar and the history.
function takeLink() {
  const field = one("#link");
  if (!field || location.hash.length < 2) return;
  field.value = location.hash.slice(1);
  field.type = "password";
  history.replaceState(null, "", location.pathname);
  one("#password")?.focus();
}
takeLink();
addEventListener("hashchange", takeLink);

// No page sends the code back. Where something is refused, it stays here instead of having to be pasted again.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const field = one("#link", form);
  if (!field) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), cache: "no-store" });
  if (answer.redirected) { location.assign(answer.url); return; }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const { value, type } = field;
  one("main").replaceWith(one("main", fresh));
  Object.assign(one("#link"), { value, type });
  one("[aria-invalid=true]")?.focus();
}, { capture: true });
