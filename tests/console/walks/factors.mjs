// A second factor: added with a code of an independent library, asked for at the sign-in and before a dangerous action,
// recovery codes, the policy, and what an Owner does for somebody who has lost it.
import { authenticator } from "otplib";
import { browser, button, check, look, open, region, signIn } from "../browser.mjs";
import { EMAIL, PASSWORD } from "../server.mjs";

/** The code that a generator shows this many steps from now. */
function code(secret, steps) {
  return authenticator.clone({ epoch: Date.now() + steps * 30_000 }).generate(secret);
}

/** Adds a second factor on the account page. Returns its shared secret and the recovery codes. */
async function enrol(page, name) {
  await button(page, "Add second factor").click();
  const dialog = page.getByRole("dialog", { name: "Add second factor" });
  await dialog.getByRole("textbox", { name: "Name" }).fill(name);
  await look(page, `dialog-add-factor-${name}`);
  await button(dialog, "Continue").click();
  await page.getByRole("heading", { level: 1, name: "Add second factor" }).waitFor();
  const secret = (await page.locator("#factor-secret").textContent()).replaceAll(" ", "");
  const field = page.getByRole("textbox", { name: "Code" });
  check(`${name}: the QR code comes before the keyboard of a phone`, !await field.evaluate((input) => input === document.activeElement));
  check(`${name}: the QR code is drawn`, (await page.getByRole("img", { name: "QR code" }).boundingBox()).width >= 150);
  await look(page, `factor-${name}`);
  await field.fill("000000");
  await button(page, "Add second factor").click();
  await page.getByRole("alert").filter({ hasText: "The code is wrong" }).waitFor();
  check(`${name}: a wrong code keeps the key`, (await page.locator("#factor-secret").textContent()).replaceAll(" ", "") === secret);
  await page.getByRole("textbox", { name: "Code" }).fill(code(secret, -1));
  await button(page, "Add second factor").click();
  await page.getByRole("heading", { level: 1, name: "Recovery codes" }).waitFor();
  const codes = (await page.locator("#recovery-codes").textContent()).trim().split("\n");
  check(`${name}: ten recovery codes are shown`, codes.length === 10 && codes.every((it) => /^[0-9A-Z]{5}-[0-9A-Z]{5}$/.test(it)), codes.join());
  await look(page, `recovery-codes-${name}`);
  await page.reload();
  check(`${name}: recovery codes are shown once`, !(await page.content()).includes(codes[0]) && page.url().endsWith("/console/account"));
  return { secret, codes };
}

export default async function factors(server) {
  const context = await browser.newContext();
  const page = await open(server, context);
  for (const status of [403, 404, 422]) page.expected.add(status);
  await page.goto(`${server.url}/console/account`);
  await signIn(page);
  await region(page, "Second factors").waitFor();
  await look(page, "account-without-factor");
  const phone = await enrol(page, "phone");
  await region(page, "Second factors").getByText("10 recovery codes are left.").waitFor();
  await look(page, "account-with-factor");

  // Signing out and in again.
  await page.getByRole("button", { name: /ada/ }).click();
  await button(page.locator("#account-menu"), "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.getByRole("textbox", { name: "Email" }).fill(EMAIL);
  await page.getByRole("textbox", { name: "Password" }).fill(PASSWORD);
  await button(page, "Sign in").click();
  await page.getByRole("heading", { name: "Enter a code" }).waitFor();
  await look(page, "code");
  await page.getByRole("textbox", { name: "Code" }).fill("000000");
  await button(page, "Sign in").click();
  await page.getByRole("alert").filter({ hasText: "The code is wrong" }).waitFor();
  await look(page, "code-refused");
  await page.goto(`${server.url}/console/clients`);
  check("without the code nobody is signed in", new URL(page.url()).pathname === "/console/sign-in");
  await page.goto(`${server.url}/console/sign-in/code?to=/console/account`);
  await page.getByRole("textbox", { name: "Code" }).fill(code(phone.secret, 0));
  await button(page, "Sign in").click();
  await region(page, "Second factors").waitFor();
  check("the password and a code sign in", new URL(page.url()).pathname === "/console/account");

  // A dangerous action asks for both.
  server.age();
  await button(page, "Create token").click();
  const dialog = page.getByRole("dialog", { name: "Create token" });
  await dialog.getByRole("textbox", { name: "Name" }).fill("laptop");
  await button(dialog, "Create token").click();
  const confirm = page.getByRole("dialog", { name: "Confirm it is you" });
  await confirm.waitFor();
  await confirm.getByRole("textbox", { name: "Password" }).fill(PASSWORD);
  await confirm.getByRole("textbox", { name: "Code" }).fill("000000");
  await button(confirm, "Continue").click();
  await confirm.getByRole("alert").filter({ hasText: "The code is wrong" }).waitFor();
  check("a wrong code is said beside its field", (await confirm.getByRole("textbox", { name: "Code" }).getAttribute("aria-invalid")) === "true" && (await confirm.getByRole("textbox", { name: "Password" }).getAttribute("aria-invalid")) !== "true");
  await look(page, "dialog-confirm-code");
  await confirm.getByRole("textbox", { name: "Code" }).fill(phone.codes[0].toLowerCase());
  await button(confirm, "Continue").click();
  await page.getByText("The token laptop was created.").waitFor();
  await page.goto(`${server.url}/console/account`);
  await region(page, "Second factors").getByText("9 recovery codes are left.").waitFor();
  check("a recovery code confirms once", true);

  // The policy.
  await page.goto(`${server.url}/console/people`);
  await page.getByRole("link", { name: "Sign-in policy" }).click();
  await page.getByRole("heading", { level: 1, name: "Sign-in policy" }).waitFor();
  await look(page, "sign-in-policy");
  await page.getByRole("radio", { name: "Everyone", exact: true }).check();
  await button(page, "Save policy").click();
  await page.getByRole("status").filter({ hasText: "The policy was saved." }).waitFor();
  await look(page, "sign-in-policy-everyone");

  // Somebody who is invited now adds one before anything else.
  const vera = await server.api("POST", "/users", { email: "vera@example.com", name: "Vera" });
  const other = await browser.newContext();
  const stranger = await open(server, other);
  for (const status of [403, 404, 422]) stranger.expected.add(status);
  await stranger.goto(vera.activation_link.url);
  await stranger.getByRole("textbox", { name: "Password", exact: true }).fill("a sentence that nobody guesses");
  await stranger.getByRole("textbox", { name: "Confirm password" }).fill("a sentence that nobody guesses");
  await button(stranger, "Set password").click();
  await stranger.getByText("Your account must have a second factor. Add one to continue.").waitFor();
  check("who must add a second factor is led to the account page", new URL(stranger.url()).pathname === "/console/account");
  await look(stranger, "account-must-add-factor");
  await enrol(stranger, "tablet");
  await stranger.goto(`${server.url}/console/leaks`);
  check("with a second factor the Console opens", new URL(stranger.url()).pathname === "/console/leaks");

  // The Owner removes it.
  await page.goto(`${server.url}/console/people/${vera.id}`);
  await page.getByRole("heading", { level: 1, name: "Vera" }).waitFor();
  await look(page, "person-with-factor");
  await button(page, "Remove second factors").click();
  const remove = page.getByRole("dialog", { name: "Remove second factors" });
  await remove.getByRole("textbox", { name: "Reason" }).fill("the tablet was lost");
  await look(page, "dialog-remove-factors");
  await button(remove, "Remove").click();
  await page.getByRole("status").filter({ hasText: "The second factors were removed." }).waitFor();
  await stranger.goto(`${server.url}/console/account`);
  check("recovery ends the sessions of the person", new URL(stranger.url()).pathname === "/console/sign-in");
}
