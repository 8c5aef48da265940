// A button of a row copies the secret of that row.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy-secret]");
  if (button) document.getElementById(button.dataset.copySecret)?.copyValue();
});

// A leaked secret ends at once: the transition period is 0 then, and what stood there before comes back.
document.addEventListener("change", (event) => {
  const box = event.target;
  if (!box.matches?.("#rotate input[name=compromised]")) return;
  const hours = one("#rotate-transition_hours");
  if (box.checked) box.dataset.before = hours.value;
  hours.value = box.checked ? "0" : box.dataset.before ?? "24";
  hours.readOnly = box.checked;
  hours.dispatchEvent(new Event("input", { bubbles: true }));
});
