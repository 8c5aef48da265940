// Provisioning tokens of a provider: created and shown once, used by the provider, and ended.
import { browser, button, check, look, open, region, signIn } from "../browser.mjs";

export default async function walk(server) {
  const created = await server.api("POST", "/providers", {
    name: "Provisioner", issuer: "https://id.invalid", client_id: "crossfade", client_secret: "a secret", domains: ["example.com"],
  });
  const page = await open(server, await browser.newContext());
  await page.goto(`${server.url}/console/providers/${created.id}`);
  await signIn(page);
  const card = region(page, "Provisioning");
  await card.getByRole("heading", { name: "No provisioning tokens" }).waitFor();
  check("the page says the base URL", (await card.textContent()).includes(`/scim/v2/${created.id}`));
  await look(page, "provisioning-empty");

  await button(card, "Create token").click();
  const dialog = page.getByRole("dialog", { name: "Create provisioning token" });
  await dialog.waitFor();
  await look(page, "provisioning-dialog");
  await button(dialog, "Create token").click();
  const shown = page.locator("#new-token");
  await shown.waitFor();
  const value = (await shown.textContent()).trim();
  check("the value is shown", value.startsWith("crossfade_scim_"), value.slice(0, 20));
  await look(page, "provisioning-created");

  const scim = (path, options = {}) => fetch(`${server.url}/scim/v2/${created.id}${path}`, {
    ...options, headers: { authorization: `Bearer ${value}`, "content-type": "application/scim+json" },
  });
  const person = { userName: "grace@example.com", externalId: "grace", displayName: "Grace" };
  const made = await scim("/Users", { method: "POST", body: JSON.stringify(person) });
  check("the provider creates a person", made.status === 201, String(made.status));
  const leaves = { Operations: [{ op: "replace", path: "active", value: false }] };
  const { id } = await made.json();
  check("and deactivates them", (await scim(`/Users/${id}`, { method: "PATCH", body: JSON.stringify(leaves) })).status === 200);
  check("the account is gone", (await server.api("GET", "/users?q=grace@example.com")).items.length === 0);

  await page.goto(`${server.url}/console/providers/${created.id}`);
  check("the value is not shown again", !(await page.content()).includes(value));
  await card.getByRole("row").nth(1).waitFor();
  await card.getByRole("button", { name: /^End prov_/ }).click();
  const ending = page.getByRole("dialog", { name: "End provisioning token" });
  await ending.waitFor();
  check("a token is not ended by one click", (await scim("/Users")).status === 200);
  await look(page, "provisioning-end");
  await ending.getByRole("button", { name: "End token" }).click();
  await page.getByText("The provisioning token was ended.").waitFor();
  check("an ended token is refused", (await scim("/Users")).status === 401);
  await page.goto(`${server.url}/console/audit?action=scim_user.updated`);
  await page.getByRole("table").getByText("Provisioned person changed").first().waitFor();
  await look(page, "provisioning-trail");
}
