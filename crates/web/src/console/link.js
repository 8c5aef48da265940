// The code stands behind the "#" of the address, where no server and no log sees it. Move it into the form,
// and out of the address bar and the history.
const field = document.getElementById("link");
if (field && location.hash.length > 1) {
  field.value = location.hash.slice(1);
  field.type = "password";
  history.replaceState(null, "", location.pathname);
}
