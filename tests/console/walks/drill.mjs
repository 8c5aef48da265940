// A drill: the old secret is refused in a window, whoever still uses it is found, and stopping it lets them in again.
import { browser, button, check, confirmIfAsked, look, open, region, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

export default async function drill(server) {
  const property = await server.api("POST", "/properties", { name: "Payments" });
  const client = await server.api("POST", "/clients", { name: "Billing API", property_id: property.id, owners: ["ada@example.com"], environments: ["production"] });
  const [{ client_id: id, secret: { value: old } }] = client.registrations;
  await server.api("POST", `/clients/${client.id}/environments/production/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing API", reason: "quarterly" });
  check("the old secret works before the drill", (await server.use("production", id, old, "forgotten-job/1.0")) === 200);

  const page = await open(server, await browser.newContext());
  page.expected.add(422).add(409);
  await page.goto(`${server.url}/console/clients/${client.id}/environments/production/security`);
  await signIn(page);
  const drills = region(page, "Drills");
  await drills.getByText("No drills of this old secret yet", { exact: false }).waitFor();
  await look(page, "drill-none");

  // Bad input stands beside its field, and nothing that was typed is lost.
  await button(drills, "Schedule drill").click();
  let dialog = page.getByRole("dialog", { name: "Schedule drill" });
  await dialog.waitFor();
  const fill = async (fields) => {
    for (const [name, value] of Object.entries(fields)) await dialog.getByLabel(name, { exact: false }).first().fill(value);
  };
  await fill({ "Window length": "300", "Number of windows": "3", "Interval (seconds)": "600", "Client name": "Billing API", Reason: "who is left?" });
  const preview = dialog.locator("drill-preview");
  check("the dialog says which windows there will be", /refused in 3 windows of 5 min, every 10 min, starting now.*50% of the time/.test(await preview.textContent()), await preview.textContent());
  await look(page, "dialog-drill");
  await fill({ "Interval (seconds)": "400" });
  await button(dialog, "Schedule drill").click();
  dialog = page.getByRole("dialog", { name: "Schedule drill" });
  await dialog.getByRole("alert").first().waitFor();
  check("windows that are too close are refused beside the field", (await dialog.getByLabel("Interval (seconds)").getAttribute("aria-invalid")) === "true");
  check("what was typed is still there", (await dialog.getByLabel("Reason").inputValue()) === "who is left?");
  await look(page, "dialog-drill-refused");
  check("nothing was scheduled", (await server.api("GET", `/clients/${client.id}/environments/production/drills`)).items.length === 0);

  // The drill, with a sign-in that is too old.
  server.age();
  await fill({ "Interval (seconds)": "600" });
  await button(dialog, "Schedule drill").click();
  await confirmIfAsked(page);
  await page.getByRole("status").filter({ hasText: "The drill was scheduled" }).first().waitFor();
  check("in a window the old secret is refused", (await server.use("production", id, old, "forgotten-job/1.0")) === 401);
  const progress = drills.getByRole("group", { name: "Drill in progress" });
  check("the page says until when it is refused", /The old secret is refused for .*until/.test(await progress.textContent()), await progress.textContent());
  const found = page.getByRole("table", { name: "Callers found by the latest drill" });
  await until(async () => (await found.count()) === 1 && (await found.textContent()).includes("forgotten-job/1.0"), "the caller is found");
  check("whoever was refused is listed as it happens", true);
  await page.getByRole("group", { name: "Change-over" }).scrollIntoViewIfNeeded();
  await look(page, "drill-running");

  // Stopped, it refuses nobody any more.
  await button(drills, "Stop drill").click();
  dialog = page.getByRole("dialog", { name: "Stop drill" });
  await dialog.getByRole("textbox", { name: "Reason" }).fill("found the job");
  await look(page, "dialog-stop-drill");
  await button(dialog, "Stop drill").click();
  await page.getByRole("status").filter({ hasText: "The drill was stopped" }).first().waitFor();
  check("a stopped drill lets the old secret in at once", (await server.use("production", id, old, "forgotten-job/1.0")) === 200);
  await drills.getByText("Stopped", { exact: true }).waitFor();
  check("what it found stays, and another one can be scheduled", (await found.textContent()).includes("forgotten-job/1.0") && await button(drills, "Schedule drill").isVisible());
  await look(page, "drill-stopped");

  // A page that was opened before the secret was revoked.
  await button(drills, "Schedule drill").click();
  dialog = page.getByRole("dialog", { name: "Schedule drill" });
  await fill({ "Client name": "Billing API", Reason: "again" });
  const { items: [rotation] } = await server.api("GET", `/clients/${client.id}/environments/production/rotations`);
  await server.api("POST", `/clients/${client.id}/environments/production/secrets/${rotation.outgoing_secret.id}/revoke`, { reason: "everybody has moved" });
  await button(dialog, "Schedule drill").click();
  await page.getByText("Drills need a retiring secret", { exact: false }).waitFor();
  check("a drill of what has ended is refused in words", true);
}
