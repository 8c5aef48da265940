// Owners: a client without one is found, a transition is marked as seen, messages are switched off, a time zone is taken
// from the browser, and a deleted account hands over its clients.
import { browser, button, check, look, open, region, signIn } from "../browser.mjs";

export default async function walk(server) {
  const property = await server.api("POST", "/properties", { name: "Payments" });
  const create = (name, owners) => server.api("POST", "/clients", { name, property_id: property.id, owners, environments: ["production"] });
  const grace = await server.api("POST", "/users", { email: "grace@example.com", name: "Grace Hopper" });
  const billing = await create("Billing API", ["grace@example.com", "team@example.com"]);
  await create("Lonely API", []);
  const owners = async () => (await server.api("GET", `/clients/${billing.id}`)).owners.join();

  const page = await open(server, await browser.newContext({ timezoneId: "Europe/Berlin" }));
  page.expected.add(422);
  await page.goto(`${server.url}/console`);
  await signIn(page);

  // A client without an owner is on the Overview and behind a filter.
  await page.getByText("1 client has no owner.").waitFor();
  await look(page, "overview-ownerless");
  await page.getByRole("link", { name: "View these clients" }).click();
  await page.getByRole("rowheader", { name: "Lonely API" }).waitFor();
  check("the filter shows clients without an owner alone", (await page.getByRole("rowheader", { name: "Billing API" }).count()) === 0);
  check("the filter is ticked", await page.getByRole("checkbox", { name: "Without owner only" }).isChecked());
  await look(page, "clients-ownerless");

  // The page of a client says what its owners are.
  await page.goto(`${server.url}/console/clients/${billing.id}`);
  const about = region(page, "About");
  check("an account is named", await about.getByRole("link", { name: "Grace Hopper" }).isVisible());
  check("a group is called one", (await about.textContent()).includes("Group"));
  await look(page, "client-owners");

  // Seen.
  await server.api("POST", `/clients/${billing.id}/environments/production/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing API" });
  const security = `${server.url}/console/clients/${billing.id}/environments/production/security`;
  await page.goto(security);
  const rotation = region(page, "Secret rotation");
  await rotation.getByText("No owner has marked this transition as seen.").waitFor();
  await look(page, "security-unseen");
  await button(rotation, "Mark as seen").click();
  await page.getByText("Recorded that you know of this transition.").waitFor();
  await rotation.getByText("Seen by ada").waitFor();
  check("a transition is marked as seen once", (await button(rotation, "Mark as seen").count()) === 0);
  const { items } = await server.api("GET", `/clients/${billing.id}/environments/production/rotations`);
  check("the API has who has seen it", items[0].seen.length === 1 && items[0].seen[0].name === "ada");
  await look(page, "security-seen");

  // The messages about a client.
  await page.goto(`${server.url}/console/clients/${billing.id}/settings`);
  const ofClient = region(page, "Messages");
  await ofClient.getByRole("checkbox", { name: "A drill was stopped." }).check();
  await button(ofClient, "Save messages").click();
  await ofClient.getByText("must match the client").first().waitFor();
  check("switching off takes the name", (await server.api("GET", `/clients/${billing.id}/messages`)).off.length === 0);
  await look(page, "client-messages-refused");
  await ofClient.getByRole("textbox", { name: "Confirm client name" }).fill("Billing API");
  await button(ofClient, "Save messages").click();
  await page.getByText("The messages about the client were saved.").waitFor();
  check("it is switched off", (await server.api("GET", `/clients/${billing.id}/messages`)).off.join() === "drill.stopped");
  check("the box stays ticked", await ofClient.getByRole("checkbox", { name: "A drill was stopped." }).isChecked());

  // One's own messages and time zone.
  await page.goto(`${server.url}/console/account`);
  const own = region(page, "Messages");
  const zone = own.getByRole("textbox", { name: "Time zone" });
  check("no time zone at first", (await zone.inputValue()) === "");
  await zone.fill("Mars");
  await button(own, "Save messages").click();
  await own.getByText("must be the name of a time zone").first().waitFor();
  await button(own, "Use Europe/Berlin").click();
  check("the zone of the browser is taken", (await zone.inputValue()) === "Europe/Berlin");
  check("it is offered no more", !(await own.getByRole("button", { name: "Use Europe/Berlin" }).isVisible()));
  await own.getByRole("checkbox", { name: "An old secret has expired." }).check();
  await look(page, "account-messages");
  await button(own, "Save messages").click();
  await page.getByText("Your messages and your time zone were saved.").waitFor();
  const messages = await server.api("GET", "/me/messages");
  check("messages and zone are saved", messages.off.join() === "secret.expired" && messages.time_zone === "Europe/Berlin");

  // A deleted account hands over.
  await page.goto(`${server.url}/console/people/${grace.id}`);
  await button(page, "Delete account").click();
  const dialog = page.getByRole("dialog", { name: "Delete account" });
  await dialog.getByText("Grace Hopper owns 1 client.").waitFor();
  const next = dialog.getByRole("table", { name: "Clients and their next owners" });
  check("the next owners are listed before the deletion", (await next.getByRole("row", { name: /^Billing API/ }).textContent()).includes("other owners: team@example.com"));
  await look(page, "dialog-hand-over");
  await dialog.getByRole("textbox", { name: "New owner" }).fill("nobody");
  await dialog.getByRole("textbox", { name: "Account name" }).fill("Grace Hopper");
  await button(dialog, "Delete account").click();
  await dialog.getByText("New owner must be an email address").waitFor();
  check("nothing is handed over to nobody", (await owners()) === "grace@example.com,team@example.com");
  await dialog.getByRole("textbox", { name: "New owner" }).fill("heir@example.com");
  await button(dialog, "Delete account").click();
  await page.getByText("its clients were handed over").waitFor();
  check("the new owner takes the place", (await owners()) === "heir@example.com,team@example.com");
}
