// The deadline guard: a transition of an hour that began a moment earlier has its last mark behind it, so that what is
// told shows within seconds.
import { button, browser, check, look, open, region, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

export default async function walk(server) {
  const page = await open(server, await browser.newContext());
  await page.goto(`${server.url}/console`);
  await signIn(page);

  // The policy of an environment is a field of its settings.
  await page.goto(`${server.url}/console/environments/staging`);
  const settings = region(page, "Settings");
  const hours = settings.getByRole("spinbutton", { name: "Automatic extension (hours)" });
  check("no policy at first", (await hours.inputValue()) === "");
  await hours.fill("12");
  await button(settings, "Save").click();
  await page.getByText("The settings were saved.").waitFor();
  check("the policy is set", (await server.api("GET", "/environments/staging")).guard_extension_hours === 12);
  await look(page, "environment-guard");

  const property = await server.api("POST", "/properties", { name: "Payments" });
  const client = await server.api("POST", "/clients", { name: "Billing API", property_id: property.id, owners: ["ada@example.com"], environments: ["staging", "production"] });
  for (const it of client.registrations) {
    check("the first secret works", (await server.use(it.environment, it.client_id, it.secret.value)) === 200);
    await server.api("POST", `/clients/${client.id}/environments/${it.environment}/secrets/rotate`, { transition_hours: 1, confirm_client_name: "Billing API" });
  }
  server.earlier();
  const told = await until(async () => {
    const { items } = await server.api("GET", "/audit-events?action=transition.deadline_near");
    return items.length === 2 && items;
  }, "both are told of");
  check("the guard tells", told.every((it) => it.actor.id === "guard" && it.details.hours_before === 1));

  await page.goto(`${server.url}/console`);
  const near = region(page, "Running transitions");
  const places = await near.getByRole("link", { name: "Billing API" }).evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  // In staging the policy gave 12 hours more, so that it is not the next one any more.
  check("the next deadline stands first, once", places[0]?.includes("/production/") && places[1]?.includes("/staging/") && places.length === 2, places.join());
  check("what would fail soon is marked", (await near.locator(".badge.danger").count()) === 2 && (await near.textContent()).includes("Not started"));
  await look(page, "overview-guard");
  await near.getByRole("link", { name: "Billing API" }).first().click();
  await region(page, "Secret rotation").getByText("The deadline guard warned").waitFor();
  await look(page, "security-guard-warned");
  await page.goto(`${server.url}/console/clients/${client.id}/environments/staging/security`);
  await region(page, "Secret rotation").getByText("The deadline guard moved the deadline").waitFor();
  await look(page, "security-guard-extended");
}
