// Where keys lead: the focus after a link to a part of a page, `r` on every tab, times, and where the toast stands.
import { browser, button, check, open, region, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

export default async function keys(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["development", "production"] });
  const [single] = await Promise.all(["Search", "Stock"].map((name) => server.api("POST", "/clients", { name, property_id: property.id, environments: ["production"] })));
  const path = `/clients/${client.id}/environments/production`;
  await server.api("POST", `${path}/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing" });
  const page = await open(server, await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce", permissions: ["clipboard-read", "clipboard-write"] }));
  await page.goto(`${server.url}/console${path}/credentials`);
  await signIn(page);

  const isFocused = (locator) => until(() => locator.evaluate((node) => node === document.activeElement).catch(() => false), "the focus").then(() => true, () => false);
  const hasRing = (locator) => locator.evaluate((node) => getComputedStyle(node).outlineStyle !== "none");
  await page.getByRole("link", { name: "Watch callers move" }).focus();
  await page.keyboard.press("Enter");
  const callers = page.getByRole("heading", { name: "Callers", exact: true });
  check("Watch callers move leads the focus to the callers, with a ring", await isFocused(callers) && await hasRing(callers));

  // The times of a table are one stop of the Tab key, and the arrow keys move between them.
  await page.goto(`${server.url}/console/clients`);
  const table = page.getByRole("table");
  await table.waitFor();
  const stops = () => table.evaluate((node) => [...node.querySelectorAll("local-time[relative]")].map((time) => time.tabIndex));
  check("the times of a table are one stop of the Tab key", (await stops()).length > 1 && (await stops()).filter((it) => it === 0).length === 1, String(await stops()));
  await table.locator("local-time[relative]").first().focus();
  await page.keyboard.press("ArrowDown");
  check("an arrow key moves to the next time, which shows itself in full", await isFocused(table.locator("local-time[relative]").nth(1)) && (await page.evaluate(() => getComputedStyle(document.activeElement, "::after").content)).includes("UTC"));
  check("and the stop has moved with it", (await stops()).findIndex((it) => it === 0) === 1);

  // `r` rotates on every tab that is about one environment.
  for (const tab of ["/environments/production/credentials", "/environments/production/settings", "/environments/production/security"]) {
    await page.goto(`${server.url}/console/clients/${client.id}${tab}`);
    await page.getByRole("heading", { level: 1, name: "Billing" }).waitFor();
    await page.keyboard.press("r");
    const dialog = page.getByRole("dialog", { name: "Rotate client secret" });
    check(`r opens Rotate from the tab ${tab}`, await dialog.waitFor({ timeout: 20000 }).then(() => true, () => false));
    check(`and the address of ${tab} keeps no trace of it`, new URL(page.url()).hash === "");
  }
  const dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await button(dialog, "Cancel").click();
  await page.goto(`${server.url}/console/clients/${client.id}`);
  await page.keyboard.press("r");
  await page.waitForTimeout(300);
  check("r does nothing where the environment is not clear", new URL(page.url()).pathname === `/console/clients/${client.id}` && !(await dialog.isVisible()));
  await page.goto(`${server.url}/console/clients/${single.id}`);
  await page.keyboard.press("r");
  check("r rotates on the Overview of a client with one environment", await dialog.waitFor({ timeout: 20000 }).then(() => true, () => false));

  // A refused dialog that is closed gives the focus back to its opener.
  await page.goto(`${server.url}/console${path}/security`);
  page.expected.add(422);
  await page.keyboard.press("r");
  await dialog.getByRole("textbox", { name: "Client name" }).fill("Biling");
  await button(dialog, "Rotate secret").click();
  await dialog.getByRole("alert").first().waitFor();
  await page.locator("dialog:modal").waitFor();
  check("a refusal names no member of the API", !/[a-z]_[a-z]/.test((await dialog.getByRole("alert").allTextContents()).join()));
  await page.keyboard.press("Escape");
  check("a refused dialog that is closed returns the focus to its opener", await isFocused(button(region(page, "Secret rotation"), "Rotate")), await page.evaluate(() => `${document.activeElement.outerHTML.slice(0, 150)} ${document.querySelectorAll("dialog[open]").length} ${document.querySelector("button[commandfor=rotate][command=show-modal]")?.outerHTML.slice(0,80)}`));
  await page.goto(`${server.url}/console/clients?q=nobody+here`);
  await page.locator("input[name=q]").press("Enter");
  check("a search without a hit leads the focus to what it says", await isFocused(page.getByRole("heading", { name: "No matching clients" })));

  // What was copied is said where no button to copy is covered.
  await page.goto(`${server.url}/console${path}/credentials`);
  await region(page, "Credentials").waitFor();
  await button(page, "Copy client_id").click();
  const toast = page.locator(".toast");
  await until(() => toast.textContent().catch(() => ""), "the toast");
  const box = await toast.boundingBox();
  const covered = await page.evaluate(({ x, y, width, height }) => [...document.querySelectorAll("copy-button button, [data-copy]")].filter((node) => {
    const it = node.getBoundingClientRect();
    return it.width && it.x < x + width && it.x + it.width > x && it.y < y + height && it.y + it.height > y;
  }).length, box);
  check("the toast covers no button to copy", covered === 0, String(covered));

  // The history names who decided.
  await page.goto(`${server.url}/console${path}/security`);
  await button(page.getByRole("table", { name: "Secret rotation history" }), "Revoke").click();
  const revoke = page.getByRole("dialog", { name: "Revoke old secret" });
  await revoke.getByRole("textbox", { name: "Reason" }).fill("moved");
  const name = revoke.getByRole("textbox", { name: "Client name" });
  if (await name.isVisible()) await name.fill("Billing");
  await button(revoke, "Revoke").click();
  await page.getByRole("status").filter({ hasText: "The old secret was revoked." }).waitFor();
  check("the history names who revoked", (await page.getByRole("table", { name: "Secret rotation history" }).textContent()).includes("by ada"));
  await page.context().close();
}
