// A search becomes part of an address, and with it of the history and the logs of proxies. A secret must not get there.
const SECRET = /crossfade_(live|test|api|link|session|device)_[0-9a-z]{12}/i;
const holdsSecret = (text) => text.split(/[^0-9A-Za-z+/=_-]+/).some((word) => {
  if (SECRET.test(word)) return true;
  try { return SECRET.test(atob(word.replaceAll("-", "+").replaceAll("_", "/"))); } catch { return false; }
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get") return;
  const field = all("input", form).find((it) => it.name && holdsSecret(it.value));
  if (!field) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  forgive(field);
  const error = document.createElement("p");
  error.className = "error";
  error.id = `${field.id}-error`;
  error.setAttribute("role", "alert");
  error.textContent = "This is a secret. It was not sent, and the field was cleared.";
  field.value = "";
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", error.id);
  const around = field.closest(".field");
  around ? around.append(error) : form.append(error);
  field.focus();
}, true);
