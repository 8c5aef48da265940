// A role that may not see secrets gets no value, and no button for one.
import { browser, button, check, look, open, region, signIn, tab } from "../browser.mjs";

export default async function viewer(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["production"] });
  await server.api("POST", `/clients/${client.id}/environments/production/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing", reason: "quarterly" });
  const user = await server.api("POST", "/users", { name: "Vera", email: "vera@example.com" });
  await server.api("POST", `/users/${user.user?.id ?? user.id}/grants`, { role: "viewer" });
  const link = user.activation_link.url;
  const context = await browser.newContext();
  const page = await open(server, context);
  await page.goto(link);
  for (const field of ["Password", "Confirm password"]) {
    await page.getByLabel(field, { exact: true }).fill("another lighthouse umbrella");
  }
  await button(page, "Set password").click();
  await page.waitForURL((url) => !url.pathname.endsWith("/link"));
  await page.goto(`${server.url}/console/clients`);
  if (page.url().includes("sign-in")) {
    await signIn(page, "vera@example.com", "another lighthouse umbrella");
  }
  await page.getByRole("rowheader", { name: "Billing" }).getByRole("link").click();
  await tab(page, "Environment").click();
  await tab(page, "Security").click();
  await region(page, "Secret rotation").waitFor();
  for (const name of ["Rotate", "Show secret", "Copy secret", "Copy", "Revoke", "Extend", "Roll back", "Schedule drill"]) {
    check(`a Viewer has no button ${name}`, (await button(page, name).count()) === 0);
  }
  await look(page, "security-viewer");
  await context.close();
}
