// Passkeys. The server says what to ask for, the browser asks the person, and a form takes the answer back.
const bytesOf = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const textOf = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Why the browser gave no passkey, in words. */
function whyNoPasskey(problem) {
  switch (problem.name) {
    // The same for "cancelled", "none here" and "too late": a browser does not tell a page which of them.
    case "NotAllowedError": return "No passkey was given. Nothing was changed. Try again, or use another way.";
    case "InvalidStateError": return "This device has a passkey for your account already. Nothing was changed. Choose another device.";
    case "NotSupportedError": return "This device can make no passkey that checks who you are. Nothing was changed. Choose another device.";
    case "ConstraintError": return "This device cannot check who you are. Nothing was changed. Set a PIN or a screen lock on it, or choose another device.";
    case "SecurityError": return "The browser allows no passkeys at this address. Nothing was changed. Open the Console at its usual address.";
    case "AbortError": return "Another request for a passkey took the place of this one. Nothing was changed. Try again.";
    default: return problem.message;
  }
}

/** Asks for a passkey as the server says; gives the answer as text, and the state that goes with it. */
async function askForPasskey(url) {
  const { options: { publicKey }, state } = await post(url);
  publicKey.challenge = bytesOf(publicKey.challenge);
  for (const it of [...(publicKey.allowCredentials ?? []), ...(publicKey.excludeCredentials ?? [])]) it.id = bytesOf(it.id);
  if (publicKey.user) publicKey.user.id = bytesOf(publicKey.user.id);
  const passkey = await (publicKey.user ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
  const { response } = passkey;
  const answer = { clientDataJSON: textOf(response.clientDataJSON) };
  if (publicKey.user) {
    answer.attestationObject = textOf(response.attestationObject);
    answer.transports = response.getTransports?.() ?? [];
  } else {
    answer.authenticatorData = textOf(response.authenticatorData);
    answer.signature = textOf(response.signature);
    answer.userHandle = response.userHandle ? textOf(response.userHandle) : null;
  }
  return { answer: JSON.stringify({ id: passkey.id, rawId: textOf(passkey.rawId), type: passkey.type, response: answer }), state: state ?? "" };
}

/** Stands in a form, with two hidden fields for the answer. Its button asks; without one, the form asks when it is sent. */
customElements.define("pass-key", class extends HTMLElement {
  connectedCallback() {
    const button = one("button", this);
    // Where there is no other way, the form says why.
    if (!window.PublicKeyCredential && button) return;
    this.hidden = false;
    [this.answer, this.state] = all("input[type=hidden]", this);
    const { form } = this.answer;
    if (button) button.addEventListener("click", () => this.ask(form, button));
    else form.addEventListener("submit", (event) => {
      if (this.answer.value) return;
      event.preventDefault();
      this.ask(form, event.submitter);
    });
  }

  async ask(form, button) {
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    this.refuse("");
    try {
      if (!window.PublicKeyCredential) throw new Error("This browser supports no passkeys. Nothing was changed. Use another browser, or an authenticator app.");
      // Before the browser asks, so that it does not ask for nothing.
      if (form.dataset.fresh !== undefined && !await isFresh()) return;
      const { answer, state } = await askForPasskey(this.getAttribute("begin"));
      [this.answer.value, this.state.value] = [answer, state];
      // What else the form asks for is not needed with it.
      form.noValidate = true;
      form.requestSubmit();
    } catch (problem) {
      this.refuse(whyNoPasskey(problem));
    } finally {
      form.noValidate = false;
      button.ariaBusy = "false";
    }
  }

  refuse(text) {
    const error = one("[data-error]", this);
    one("span", error).textContent = text;
    error.hidden = !text;
  }

  /** Takes the answer out of the form: it is good for once. */
  take() {
    const taken = { passkey: this.answer.value, state: this.state.value };
    [this.answer.value, this.state.value] = ["", ""];
    return taken;
  }
});

addEventListener("pageshow", () => { for (const it of all("pass-key")) it.take?.(); });
