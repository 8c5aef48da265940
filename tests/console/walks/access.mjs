// The access review: who holds which role and why, filtered, exported, and a role removed in place.
import { readFileSync } from "node:fs";
import { browser, button, check, confirmIfAsked, look, open, signIn } from "../browser.mjs";

export default async function access(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["production", "staging"] });
  const person = async (email, grant) => {
    const user = await server.api("POST", "/users", { email });
    await server.api("POST", `/users/${user.id}/grants`, grant);
    return user;
  };
  await person("grace@example.com", { role: "secret_rotator", client_id: client.id, environments: ["production"] });
  await person("bob@example.com", { role: "viewer" });
  await person("carol@example.com", { role: "application_manager", property_id: property.id });

  const context = await browser.newContext({ acceptDownloads: true });
  const page = await open(server, context);
  await page.goto(`${server.url}/console/clients/${client.id}/environments/production/settings`);
  await signIn(page);
  await page.getByRole("link", { name: "Show access", exact: true }).click();
  await page.getByRole("heading", { name: "Access", level: 1 }).waitFor();
  const rows = async () => page.getByRole("table", { name: "Roles and their holders" }).locator("tbody tr").allTextContents();
  const rotators = await rows();
  check("the review names who can rotate a secret", rotators.length === 2 && rotators.some((it) => /grace/.test(it) && /Client Billing/.test(it) && /Granted manually/.test(it)) && !rotators.some((it) => /bob|carol/.test(it)), rotators.join(" | "));
  await look(page, "access-of-a-secret");
  await page.getByRole("link", { name: "Clear", exact: true }).click();
  await page.waitForURL(`${server.url}/console/access`);
  check("without a filter the review has every role", (await rows()).length === 4);
  await look(page, "access");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export CSV", exact: true }).click()]);
  const csv = readFileSync(await download.path(), "utf8").trim().split("\r\n");
  check("the export has every role", csv.length === 5 && /^user_id,/.test(csv[0]), csv.join(" | "));
  await page.getByRole("row", { name: /bob@example.com/ }).getByRole("button", { name: "Remove", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Remove role" });
  await dialog.waitFor();
  server.age();
  await button(dialog, "Remove").click();
  await confirmIfAsked(page);
  await page.getByText("The role was removed, effective from the next request.").waitFor();
  check("a role is removed in place", !(await rows()).some((it) => /bob/.test(it)) && page.url().startsWith(`${server.url}/console/access`), page.url());
}
