// Passkeys with the virtual authenticator of Chromium: added, used alone, after the password and before a dangerous action,
// and removed; on http://localhost and over https. At an address without a name, none is offered.
import { chromium } from "playwright-core";
import { args, browser, button, check, look, open, region, signIn } from "../browser.mjs";
import { EMAIL, PASSWORD, start } from "../server.mjs";

export const options = { host: "localhost" };

/** Gives a page a device with passkeys, which checks its person or does not. */
async function device(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable", { enableUI: false });
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return {
    verifies: (isUserVerified) => session.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified }),
    passkeys: async () => (await session.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
  };
}

async function signOut(page) {
  await page.getByRole("button", { name: /ada/ }).click();
  await button(page.locator("#account-menu"), "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
}

/** Opens the dialog that adds a passkey, and fills it in. */
async function adding(page, name) {
  await button(page, "Add passkey").click();
  const dialog = page.getByRole("dialog", { name: "Add passkey" });
  await dialog.getByRole("textbox", { name: "Name" }).fill(name);
  return dialog;
}

/** Adds the first factor of the account, a passkey. Returns the recovery codes. */
async function enrol(page, name) {
  await button(await adding(page, name), "Continue").click();
  await page.getByRole("heading", { level: 1, name: "Recovery codes" }).waitFor();
  const codes = (await page.locator("#recovery-codes").textContent()).trim().split("\n");
  await page.getByRole("link", { name: "Done" }).click();
  await region(page, "Second factors").getByText("10 recovery codes are left.").waitFor();
  return codes;
}

/** Signs in with the passkey of the device alone. */
async function alone(page, where) {
  await button(page, "Sign in with a passkey").click();
  await page.getByRole("button", { name: /ada/ }).waitFor();
  check(`${where}: a passkey signs in alone`, !new URL(page.url()).pathname.startsWith("/console/sign-in"), page.url());
}

/** Does something dangerous, and confirms it with the passkey. */
async function confirmed(server, page, where, picture) {
  server.age();
  await page.goto(`${server.url}/console/account`);
  await button(page, "Create token").click();
  const dialog = page.getByRole("dialog", { name: "Create token" });
  await dialog.getByRole("textbox", { name: "Name" }).fill("laptop");
  await button(dialog, "Create token").click();
  const confirm = page.getByRole("dialog", { name: "Confirm it is you" });
  await confirm.waitFor();
  if (picture) await look(page, picture);
  await button(confirm, "Use a passkey").click();
  await page.getByText("The token laptop was created.").waitFor();
  check(`${where}: a passkey confirms a dangerous action`, true);
}

/** Removes the passkey again. */
async function removed(server, page, where, name, picture) {
  server.age();
  await page.goto(`${server.url}/console/account`);
  await region(page, "Second factors").getByRole("row", { name: new RegExp(name) }).getByRole("button", { name: "Remove" }).click();
  const dialog = page.getByRole("dialog", { name: "Remove second factor" });
  if (picture) await look(page, picture);
  await button(dialog, "Remove").click();
  // The passkey confirms its own end.
  await button(page.getByRole("dialog", { name: "Confirm it is you" }), "Use a passkey").click();
  await page.getByRole("status").filter({ hasText: "The second factor was removed." }).waitFor();
  await signOut(page);
  await button(page, "Sign in with a passkey").click();
  await page.getByRole("alert").filter({ hasText: "The passkey was not accepted." }).waitFor();
  check(`${where}: a removed passkey signs nobody in`, new URL(page.url()).pathname.startsWith("/console/sign-in"), page.url());
}

async function onLocalhost(server) {
  const page = await open(server, await browser.newContext());
  for (const status of [403, 404, 422]) page.expected.add(status);
  await page.goto(`${server.url}/console/account`);
  const phone = await device(page);
  await look(page, "sign-in-with-passkeys");
  await signIn(page);
  await region(page, "Second factors").waitFor();

  // A device that does not check its person makes none.
  await phone.verifies(false);
  const dialog = await adding(page, "<b>phone</b>");
  await look(page, "dialog-add-passkey");
  await button(dialog, "Continue").click();
  await dialog.getByRole("alert").filter({ hasText: "Nothing was changed." }).waitFor();
  check("a device that checks nobody makes no passkey", (await phone.passkeys()).length === 0);
  await look(page, "dialog-add-passkey-refused");
  await phone.verifies(true);
  await button(dialog, "Continue").click();
  await page.getByRole("heading", { level: 1, name: "Recovery codes" }).waitFor();
  const codes = (await page.locator("#recovery-codes").textContent()).trim().split("\n");
  check("the first passkey brings ten recovery codes", codes.length === 10, codes.join());
  const [made] = await phone.passkeys();
  check("a passkey is found without an account, and names none", made.isResidentCredential && made.rpId === "localhost" && !atob(made.userHandle).includes("ada"), JSON.stringify(made));
  await page.goto(`${server.url}/console/account`);
  check("the name of a passkey is text", (await region(page, "Second factors").textContent()).includes("<b>phone</b>"));
  await look(page, "account-with-passkey");

  // The same device makes no second one.
  const again = await adding(page, "again");
  await button(again, "Continue").click();
  await again.getByRole("alert").filter({ hasText: "This device has a passkey for your account already." }).waitFor();
  check("a device makes no second passkey for an account", (await phone.passkeys()).length === 1);
  await button(again, "Cancel").click();

  // Alone, also back to the page that was asked for.
  await signOut(page);
  await page.goto(`${server.url}/console/people`);
  await alone(page, "localhost");
  check("a passkey leads to the page that was asked for", new URL(page.url()).pathname === "/console/people", page.url());

  // Without the check of the person, not even with the key.
  await signOut(page);
  await phone.verifies(false);
  await button(page, "Sign in with a passkey").click();
  await page.getByRole("alert").filter({ hasText: "No passkey was given." }).waitFor();
  check("a passkey that checks nobody signs nobody in", new URL(page.url()).pathname.startsWith("/console/sign-in"));
  await look(page, "sign-in-passkey-refused");
  await phone.verifies(true);

  // After the password.
  await page.getByRole("textbox", { name: "Email" }).fill(EMAIL);
  await page.getByRole("textbox", { name: "Password" }).fill(PASSWORD);
  await button(page, "Sign in").click();
  await page.getByRole("heading", { name: "Enter a code" }).waitFor();
  await look(page, "code-or-passkey");
  await button(page, "Use a passkey").click();
  await page.getByRole("button", { name: /ada/ }).waitFor();
  check("a passkey finishes a sign-in after the password", true);

  await confirmed(server, page, "localhost", "dialog-confirm-passkey");

  // A session that has ended is begun again in the dialog, and nothing is lost.
  await page.goto(`${server.url}/console/account`);
  await button(page, "Create token").click();
  const token = page.getByRole("dialog", { name: "Create token" });
  await token.getByRole("textbox", { name: "Name" }).fill("desk");
  await page.context().clearCookies();
  page.expected.add(401);
  await button(token, "Create token").click();
  const confirm = page.getByRole("dialog", { name: "Confirm it is you" });
  await confirm.getByText("You were signed out.").waitFor();
  await button(confirm, "Use a passkey").click();
  await page.getByText("The token desk was created.").waitFor();
  check("a passkey begins an ended session again, and nothing typed is lost", true);

  // A new password, with the passkey in place of a code.
  await page.goto(`${server.url}/console/account`);
  const password = region(page, "Password");
  const next = "four quite unrelated words";
  await password.getByRole("textbox", { name: "Current password" }).fill(PASSWORD);
  await password.getByRole("textbox", { name: "New password", exact: true }).fill(next);
  await password.getByRole("textbox", { name: "Confirm new password" }).fill(next);
  await button(password, "Change with a passkey").click();
  await page.getByRole("status").filter({ hasText: "Your password was changed." }).waitFor();
  check("a passkey changes the password in place of a code", true);

  // Without a script, the page says what is left.
  server.age();
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await page.context().storageState() });
  const still = await open(server, plain);
  still.expected.add(403);
  await still.goto(`${server.url}/console/account`);
  check("without a script no passkey is offered", await still.locator("pass-key:visible").count() === 0);
  await still.getByRole("textbox", { name: "Name", exact: true }).first().fill("Ada of Lovelace");
  await button(still, "Save name").click();
  // A text inside of noscript is none that Playwright looks for.
  await still.locator("noscript p", { hasText: "A passkey needs JavaScript." }).waitFor();
  check("without a script the page says what a passkey needs", true);
  await look(still, "confirm-passkey-without-script", false);

  await removed(server, page, "localhost", "phone", "dialog-remove-passkey");
}

async function overHttps() {
  const server = await start(args.binary, { https: true });
  // Nobody has signed the certificate, so this browser is told its key.
  const trusting = await chromium.launch({
    executablePath: args.chromium,
    args: [`--ignore-certificate-errors-spki-list=${server.spki}`, "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  try {
    const page = await open(server, await trusting.newContext());
    for (const status of [403, 404, 422]) page.expected.add(status);
    await page.goto(`${server.url}/console/account`);
    await device(page);
    await signIn(page);
    await enrol(page, "laptop");
    await signOut(page);
    await alone(page, "https");
    await confirmed(server, page, "https");
    const cookies = await page.context().cookies();
    check("https: every cookie stays on this host", cookies.every((it) => it.secure && it.name.startsWith("__Host-")), cookies.map((it) => it.name).join());
    await removed(server, page, "https", "laptop");
  } finally {
    await trusting.close();
    await server.stop();
  }
}

async function withoutName() {
  const server = await start(args.binary);
  const page = await open(server, await browser.newContext());
  await page.goto(`${server.url}/console/account`);
  check("at an address without a name the sign-in offers no passkey", await page.getByText("Sign in with a passkey").count() === 0);
  await signIn(page);
  await region(page, "Second factors").getByText("so none can be added here").waitFor();
  check("at an address without a name no passkey can be added", await button(page, "Add passkey").count() === 0);
  await look(page, "account-without-passkeys");
  await page.context().close();
  await server.stop();
}

export default async function passkeys(server) {
  await onLocalhost(server);
  await overHttps();
  await withoutName();
}
