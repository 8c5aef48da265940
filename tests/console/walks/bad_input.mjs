// What goes wrong while a person works: names that are refused, two tabs, a sign-in that ran out, a transition that
// ended meanwhile, a client that is gone. Each is told in words, and nothing that was typed is lost.
import { browser, button, check, fillRotation, look, open, region, signIn } from "../browser.mjs";
import { PASSWORD, until } from "../server.mjs";

const REFUSED = { "a control character": "Bill\u0007ing", "a zero-width one": "Bill\u200bing", "one that turns the direction": "Bill\u202eing", "nothing but spaces": "   ", "201 characters": "x".repeat(201) };

export default async function badInput(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const create = (name) => server.api("POST", "/clients", { name, property_id: property.id, environments: ["production"] });
  const client = await create("Billing");
  const path = `/clients/${client.id}/environments/production`;
  const security = `${server.url}/console${path}/security`;
  const rotations = async () => (await server.api("GET", `${path}/rotations`)).items;
  const rotate = (body) => server.api("POST", `${path}/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing", ...body });
  const context = await browser.newContext();
  const page = await open(server, context);
  for (const status of [401, 404, 409, 412, 422]) page.expected.add(status);
  await page.goto(`${server.url}/console/clients/new`);
  const answers = [];
  for (const email of ["ada@example.com", "nobody@example.com"]) {
    await signIn(page, email, "not this one at all");
    await page.getByRole("alert").first().waitFor();
    await page.waitForLoadState();
    answers.push(await page.getByRole("alert").first().textContent());
  }
  check("a wrong password is told without telling which part was wrong", answers[0].length > 20 && answers[0] === answers[1], answers.join(" | "));
  await look(page, "sign-in-refused");
  await signIn(page);

  // Names.
  for (const [what, name] of Object.entries(REFUSED)) {
    const field = page.getByRole("textbox", { name: "Name", exact: true });
    await field.waitFor();
    await field.fill(name);
    await page.getByRole("checkbox", { name: "Production" }).check();
    await button(page, "Create client").click();
    await page.getByRole("alert").first().waitFor();
    check(`a name with ${what} is refused beside its field`, (await field.getAttribute("aria-invalid")) === "true" && /name|character|empty|long|given/i.test(await page.getByRole("alert").first().textContent()), await page.getByRole("alert").first().textContent());
    check(`what was chosen is still there (${what})`, await page.getByRole("checkbox", { name: "Production" }).isChecked());
    if (what === "a zero-width one") await look(page, "create-client-refused");
    await page.goto(`${server.url}/console/clients/new`);
  }
  check("no client was made of a refused name", (await server.api("GET", "/clients")).items.length === 1);

  // Two tabs: one rotates, the other sends what it had shown before.
  await page.goto(security);
  const dialog = await fillRotation(page, "Billing", 1);
  const first = await rotate({ reason: "in another tab" });
  await button(dialog, "Rotate secret").click();
  await page.getByRole("dialog", { name: "Rotate client secret" }).getByRole("alert").first().waitFor();
  check("the second tab does not rotate what it has not seen", (await rotations()).length === 1);
  check("it says what has happened meanwhile", /current|running|transition/i.test(await page.getByRole("dialog").getByRole("alert").first().textContent()), await page.getByRole("dialog").getByRole("alert").first().textContent());
  await look(page, "dialog-two-tabs");
  await button(page.getByRole("dialog"), "Cancel").click();

  // Settings of two tabs.
  await page.goto(`${server.url}/console/clients/${client.id}/settings`);
  const description = page.getByRole("textbox", { name: "Description" });
  await description.fill("Mine");
  const now = await fetch(`${server.url}/api/v1/clients/${client.id}`, { headers: { authorization: `Bearer ${server.token}` } });
  check("the client can be read", now.ok);
  await server.api("PATCH", `/clients/${client.id}`, { description: "Theirs" });
  await button(page, "Save").first().click();
  await page.getByRole("alert").first().waitFor();
  check("settings that another has changed are not overwritten, and both are shown", (await description.inputValue()) === "Mine" && (await page.getByRole("alert").first().textContent()).includes("Theirs") && (await server.api("GET", `/clients/${client.id}`)).description === "Theirs");
  await look(page, "client-settings-overtaken");
  await button(page, "Save").first().click();
  await until(async () => (await server.api("GET", `/clients/${client.id}`)).description === "Mine", "saved again, it replaces what is set now");
  await page.getByRole("alert").first().waitFor({ state: "hidden" });
  await page.waitForLoadState();
  check("saved again, it replaces what is set now", true);

  // The transition ends while the dialog is open.
  await page.goto(security);
  await button(page.getByRole("table", { name: "Secret rotation history" }), "Extend").click();
  const extend = page.getByRole("dialog", { name: "Extend deadline" });
  await extend.getByRole("textbox", { name: "Reason" }).fill("slow team");
  await server.api("POST", `${path}/secrets/${first.previous_secret.id}/revoke`, { reason: "moved" });
  await button(extend, "Extend").click();
  const told = page.getByRole("alert").filter({ hasText: "Nothing was changed" }).first();
  await told.waitFor();
  check("a transition that has ended is told in words, and nothing is revived", (await server.use("production", client.registrations[0].client_id, client.registrations[0].secret.value)) === 401, await told.textContent());
  await look(page, "security-ended-meanwhile");

  // The sign-in runs out in the middle of the dialog.
  await page.goto(security);
  const again = await fillRotation(page, "Billing", 72);
  await again.getByRole("textbox", { name: "Reason" }).fill("typed before it ran out");
  await context.clearCookies();
  await button(again, "Rotate secret").click();
  const confirm = page.getByRole("dialog", { name: "Confirm it is you" });
  await confirm.getByText("You were signed out. Sign in again").waitFor();
  await look(page, "signed-out-in-dialog");
  await confirm.getByLabel("Password").fill("not this one at all");
  await button(confirm, "Continue").click();
  await confirm.getByRole("alert").waitFor();
  check("a wrong password is told in that dialog", /password/.test(await confirm.getByRole("alert").textContent()) && (await rotations()).length === 1);
  await confirm.getByLabel("Password").fill(PASSWORD);
  await button(confirm, "Continue").click();
  await page.getByRole("status").filter({ hasText: "expires" }).first().waitFor();
  check("a sign-in that ran out in a dialog loses nothing that was typed", (await rotations())[0].reason === "typed before it ran out");

  // A client that is gone.
  const gone = await create("Prototype");
  await page.goto(`${server.url}/console/clients/${gone.id}/environments/production/security`);
  const late = await fillRotation(page, "Prototype", 24);
  await server.api("DELETE", `/clients/${gone.id}`, { confirm_client_name: "Prototype", reason: "never used" });
  await button(late, "Rotate secret").click();
  await page.getByText(/not found|is not there|does not exist|no such|gone|deleted/i).first().waitFor();
  check("a client that was deleted meanwhile is told in words", true);
  await page.goto(`${server.url}/console/clients/${gone.id}`);
  await look(page, "not-found");
}
