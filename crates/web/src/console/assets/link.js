// The code stands behind the "#" of the address, where no server and no log sees it. Move it into the form,
// and out of the address bar and the history.
const linkField = one("#link");
if (linkField && location.hash.length > 1) {
  linkField.value = location.hash.slice(1);
  linkField.type = "password";
  history.replaceState(null, "", location.pathname);
}
