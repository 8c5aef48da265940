// The Console in a browser that runs no script: forms, links and dialogs work; what needs a script says so.
import { browser, button, check, fillRotation, look, open, region, signIn, tab } from "../browser.mjs";
import { PASSWORD } from "../server.mjs";

export default async function plain(server) {
  const context = await browser.newContext({ javaScriptEnabled: false, reducedMotion: "reduce" });
  const page = await open(server, context);
  page.expected.add(403).add(409).add(422);
  await page.goto(`${server.url}/console/properties`);
  await signIn(page);
  await button(page, "Create property").click();
  await page.getByRole("dialog").getByRole("textbox", { name: "Name" }).fill("Shop");
  await button(page.getByRole("dialog"), "Create property").click();
  await page.getByRole("rowheader", { name: "Shop" }).waitFor();
  await page.goto(`${server.url}/console/clients/new`);
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("Billing");
  await page.getByRole("checkbox", { name: "Production" }).check();
  await button(page, "Create client").click();
  await tab(page, "Security").click();
  await region(page, "Secret rotation").waitFor();
  const path = new URL(page.url()).pathname.replace("/console", "").replace("/security", "");
  const rotations = async () => (await server.api("GET", `${path}/rotations`)).items;
  check("without a script a client is created", (await server.api("GET", "/clients")).items[0].name === "Billing");

  // A rotation: refused with what was typed, confirmed by the password, done.
  let dialog = await fillRotation(page, "Biling", 24);
  await button(dialog, "Rotate secret").click();
  dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await dialog.getByRole("alert").first().waitFor();
  check("without a script a refusal stands in the dialog beside its field", (await dialog.getByRole("textbox", { name: "Client name" }).getAttribute("aria-invalid")) === "true" && (await rotations()).length === 0);
  await look(page, "plain-rotate-refused", false);
  await button(dialog, "Cancel").click();
  await region(page, "Secret rotation").waitFor();
  check("without a script Cancel leads from a refused dialog to the page of its form", page.url().endsWith("/security") && !(await dialog.isVisible()));
  server.age();
  dialog = await fillRotation(page, "Billing", 24);
  await button(dialog, "Rotate secret").click();
  await page.getByRole("textbox", { name: "Password" }).waitFor();
  await look(page, "plain-confirm", false);
  await page.getByRole("textbox", { name: "Password" }).fill(PASSWORD);
  await button(page, "Continue").click();
  await page.getByRole("status").filter({ hasText: "expires" }).first().waitFor();
  check("without a script one rotates, after a page for the password", (await rotations()).length === 1);
  await page.goto(`${server.url}/console${path}/credentials`);
  check("without a script nothing is offered that needs one", !(await button(page, "Copy secret").isVisible()) && !(await button(page, "Copy").first().isVisible()));
  await look(page, "plain-credentials", false);
  server.age();
  await button(region(page, "Credentials"), "Show secret").click();
  await page.getByRole("textbox", { name: "Password" }).fill(PASSWORD);
  await button(page, "Continue").click();
  const shown = await page.locator(".secret-value").textContent();
  check("without a script a secret is shown on a page of its own, after the password", (await server.use("development", await page.locator("dd code").first().textContent(), shown)) === 200);
  await look(page, "plain-secret", false);
  await page.getByRole("link", { name: "Hide secret" }).click();

  // What follows from a rotation.
  await region(page, "Secret rotation").waitFor();
  const history = page.getByRole("table", { name: "Secret rotation history" });
  await history.waitFor();
  await look(page, "plain-security", false);
  await button(history, "Extend").click();
  dialog = page.getByRole("dialog", { name: "Extend deadline" });
  const later = new Date(Date.now() + 48 * 3600e3).toISOString().slice(0, 16);
  await dialog.getByLabel("New deadline (UTC)").fill(later);
  await dialog.getByRole("textbox", { name: "Reason" }).fill("slow team");
  await button(dialog, "Extend").click();
  await page.getByRole("status").first().waitFor();
  check("without a script a deadline is extended", (await rotations())[0].outgoing_secret.expires_at.startsWith(later));
  await button(page, "Schedule drill").click();
  dialog = page.getByRole("dialog", { name: "Schedule drill" });
  await dialog.getByLabel("Window length").fill("15");
  await dialog.getByRole("textbox", { name: "Client name" }).fill("Billing");
  await dialog.getByRole("textbox", { name: "Reason" }).fill("who is left?");
  await button(dialog, "Schedule drill").click();
  await region(page, "Drills").getByRole("table").waitFor();
  check("without a script a drill is scheduled", (await server.api("GET", `${path}/drills`)).items.length === 1);
  await button(history, "Roll back").click();
  dialog = page.getByRole("dialog", { name: "Roll back rotation" });
  await dialog.getByRole("textbox", { name: "Reason" }).fill("not yet");
  await dialog.getByRole("checkbox", { name: "Revoke it anyway" }).check();
  await button(dialog, "Roll back").click();
  await page.getByRole("status").first().waitFor();
  check("without a script a rotation is rolled back", (await rotations())[0].ended_as === "rolled_back", JSON.stringify((await rotations())[0]));

  // Filters, and the way out.
  await page.goto(`${server.url}/console/audit`);
  await page.getByRole("combobox", { name: "Event" }).selectOption("secret.rotated");
  await button(page, "Filter").click();
  await page.getByRole("table").waitFor();
  check("without a script the trail is filtered", (await page.getByRole("table").locator("tbody tr:not(.more)").count()) === 1);
  await page.getByRole("button", { name: /ada/ }).click();
  await button(page, "Sign out").click();
  await page.getByRole("textbox", { name: "Password" }).waitFor();
  check("without a script one signs out", true);
  await context.close();
}
