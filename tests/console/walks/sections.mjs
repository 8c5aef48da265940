// The sections around a client, with every dialog that they open: people, roles, links, tokens, the trail and its
// filters, an account, the ends of a client and of a registration, and pages that are not there.
import { browser, button, check, confirmIfAsked, look, open, region, signIn, tab } from "../browser.mjs";
import { PASSWORD } from "../server.mjs";

/** Opens a dialog by its button, looks at it and leaves it open. */
async function dialog(page, trigger, name, picture) {
  await trigger.click();
  const shown = page.getByRole("dialog", { name, exact: true });
  await shown.waitFor();
  await look(page, `dialog-${picture}`);
  return shown;
}

export default async function sections(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["production", "staging"] });
  const context = await browser.newContext();
  const page = await open(server, context);
  for (const status of [400, 403, 404, 409, 422]) page.expected.add(status);
  await page.goto(`${server.url}/console/people`);
  await look(page, "sign-in");
  await signIn(page);

  // A person: created, given a role, linked, renamed, deleted.
  await page.getByRole("table").waitFor();
  let open_ = await dialog(page, button(page, "Create account"), "Create account", "create-person");
  await open_.getByRole("textbox", { name: "Email" }).fill("not an address");
  await open_.getByRole("textbox", { name: "Name" }).fill("Vera");
  await open_.getByRole("textbox", { name: "Email" }).fill("ada@example.com");
  await button(open_, "Create account").click();
  await page.getByRole("dialog").getByRole("alert").first().waitFor();
  check("an address that is taken is refused beside its field", (await page.getByRole("textbox", { name: "Email" }).getAttribute("aria-invalid")) === "true");
  await look(page, "dialog-create-person-refused");
  open_ = page.getByRole("dialog");
  await open_.getByRole("textbox", { name: "Email" }).fill("vera@example.com");
  await button(open_, "Create account").click();
  await page.getByText("Send this link to Vera.").waitFor();
  await look(page, "person-link");
  const link = (await page.locator("#new-link").textContent()).trim();
  await page.reload();
  check("an activation link is shown once", !(await page.content()).includes(link.slice(-20)));
  await look(page, "person");
  open_ = await dialog(page, button(page, "Grant role"), "Grant role", "give-role");
  await open_.getByRole("combobox", { name: "Role" }).selectOption("application_manager");
  await open_.getByRole("radio", { name: "One property and its clients" }).check();
  await open_.getByRole("combobox", { name: "Property" }).selectOption({ label: "Shop" });
  await open_.getByRole("checkbox", { name: "Staging" }).check();
  await look(page, "dialog-give-role-property");
  server.age();
  await button(open_, "Grant role").click();
  await page.getByRole("dialog", { name: "Confirm it is you" }).waitFor();
  await look(page, "dialog-confirm");
  await confirmIfAsked(page);
  const roles = page.getByRole("table", { name: "Roles of Vera" });
  await roles.getByRole("rowheader", { name: "Application Manager" }).waitFor();
  check("a role is given for one property and one environment", /Shop/.test(await roles.textContent()) && /staging/i.test(await roles.textContent()), await roles.textContent());
  await look(page, "person-with-role");
  open_ = await dialog(page, button(page, "Remove"), "Remove role", "take-role");
  await button(open_, "Remove").click();
  await page.getByRole("heading", { name: "No roles" }).waitFor();
  check("a role is taken away", true);
  open_ = await dialog(page, button(page, "Edit"), "Edit account", "edit-person");
  await open_.getByRole("textbox", { name: "Name" }).fill("Vera Novak");
  await button(open_, "Save").click();
  await page.getByRole("heading", { level: 1, name: "Vera Novak" }).waitFor();
  open_ = await dialog(page, button(page, "Create new link"), "Create one-time link", "make-link");
  await button(open_, "Create link").click();
  await page.getByText("Send this link to Vera Novak.").waitFor();
  const second = (await page.locator("#new-link").textContent()).trim();
  check("a new link is another one", second !== link);

  // The link, opened by a stranger: the first has ended, the second sets a password.
  const other = await browser.newContext();
  const stranger = await open(server, other);
  for (const status of [403, 404, 410, 422]) stranger.expected.add(status);
  for (const [address, works] of [[link, false], [second, true]]) {
    await stranger.goto("about:blank");
    await stranger.goto(address);
    await stranger.getByRole("heading", { name: "Set your password" }).waitFor();
    if (works) await look(stranger, "link");
    for (const field of ["Password", "Confirm password"]) await stranger.getByLabel(field, { exact: true }).fill("another lighthouse umbrella");
    await button(stranger, "Set password").click();
    if (works) await stranger.waitForURL((url) => !url.pathname.endsWith("/link"));
    else {
      await stranger.getByRole("alert").first().waitFor();
      check("a link that was replaced is refused in words", /link/i.test(await stranger.getByRole("alert").first().textContent()));
      await look(stranger, "link-refused");
    }
  }
  if (stranger.url().includes("sign-in")) await signIn(stranger, "vera@example.com", "another lighthouse umbrella");
  await stranger.getByRole("heading", { level: 1 }).waitFor();
  check("who holds no role is told why there is nothing", (await stranger.getByRole("main").textContent()).includes("You have no roles yet"));
  await look(stranger, "nobody-yet");
  await stranger.goto(`${server.url}/console/people`);
  await stranger.getByRole("heading", { level: 1 }).waitFor();
  check("who may not read people is told so in words", /requires the permission user:read/.test(await stranger.getByRole("main").textContent()), await stranger.getByRole("main").textContent());
  await look(stranger, "forbidden");
  await other.close();

  // A program.
  await page.goto(`${server.url}/console/people`);
  await button(page, "Create account").click();
  open_ = page.getByRole("dialog");
  await open_.getByRole("radio", { name: "A program" }).check();
  await open_.getByRole("textbox", { name: "Name" }).fill("Deploy");
  await look(page, "dialog-create-program");
  await button(open_, "Create account").click();
  await page.getByRole("heading", { level: 1, name: "Deploy" }).waitFor();
  await look(page, "program");
  open_ = await dialog(page, button(page, "Delete account"), "Delete account", "delete-account");
  await open_.getByRole("textbox", { name: "Account name" }).fill("Deploy");
  await button(open_, "Delete account").click();
  await page.getByRole("table", { name: "People and programs" }).waitFor();
  check("a deleted account is gone from the list", (await page.getByRole("rowheader", { name: "Deploy" }).count()) === 0);
  await page.getByRole("searchbox").fill("nobody is called so");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "No matching accounts" }).waitFor();
  await look(page, "people-none");

  // One's own account.
  await page.getByRole("button", { name: /ada/ }).click();
  await look(page, "menu-account");
  await page.getByRole("link", { name: /Account|Your account/ }).first().click();
  await region(page, "API tokens").waitFor();
  await look(page, "account");
  open_ = await dialog(page, button(page, "Create token"), "Create token", "create-token");
  await open_.getByRole("textbox", { name: "Name" }).fill("laptop");
  await open_.getByRole("checkbox", { name: "client:read" }).check();
  await button(open_, "Create token").click();
  await page.getByText("Copy it now").waitFor();
  const token = (await page.locator("#new-token").textContent()).trim();
  await look(page, "account-token");
  const asked = await fetch(`${server.url}/api/v1/clients`, { headers: { authorization: `Bearer ${token}` } });
  check("a token made here calls the API within its limit", asked.status === 200 && (await fetch(`${server.url}/api/v1/users`, { headers: { authorization: `Bearer ${token}` } })).status === 403);
  await page.reload();
  check("a token is shown once", !(await page.content()).includes(token.slice(-16)));
  const row = page.getByRole("table", { name: "Your API tokens" }).getByRole("row", { name: /laptop/ });
  open_ = await dialog(page, button(row, "Delete"), "Delete token", "delete-token");
  await button(open_, "Delete token").click();
  await row.waitFor({ state: "detached" });
  check("a deleted token is refused at once", (await fetch(`${server.url}/api/v1/clients`, { headers: { authorization: `Bearer ${token}` } })).status === 401);
  for (const [label, value] of [["Current password", PASSWORD], ["New password", "short"], ["Confirm new password", "short"]]) await page.getByLabel(label, { exact: true }).fill(value);
  await button(page, "Change password").click();
  await page.getByRole("alert").first().waitFor();
  check("a short password is refused beside its field", (await page.getByLabel("New password", { exact: true }).getAttribute("aria-invalid")) === "true");
  await look(page, "account-refused");

  // The trail, filtered.
  await page.goto(`${server.url}/console/audit`);
  await page.getByRole("combobox", { name: "Event" }).selectOption("grant.created");
  await button(page, "Filter").click();
  await page.getByRole("table", { name: "Events, newest first" }).waitFor();
  const actions = await page.getByRole("table").locator("tbody td[data-label=Event]").allTextContents();
  check("the trail is filtered by action", actions.length > 0 && actions.every((it) => it.includes("Role granted")), actions.join());
  await look(page, "audit-filtered");
  await page.getByLabel("Client", { exact: true }).fill("cl_nothing");
  await button(page, "Filter").click();
  await page.getByRole("main").getByText(/Client does not match any/).first().waitFor();
  check("a filter that names nothing is told at the filter, and is no empty trail", (await page.getByText("No matching events").count()) === 0);
  await look(page, "audit-refused");
  await page.getByLabel("Client", { exact: true }).fill("Billing");
  await button(page, "Filter").click();
  await page.getByRole("heading", { name: "No matching events" }).waitFor();
  await look(page, "audit-nothing");

  // A registration that is disabled says so, hides what does not apply, and comes back.
  const here = `${server.url}/console/clients/${client.id}`;
  await page.goto(`${here}/environments/staging/settings`);
  await button(page, "Disable").click();
  open_ = page.getByRole("dialog", { name: "Disable registration" });
  await open_.getByRole("textbox", { name: "Client name" }).fill("Billing");
  await button(open_, "Disable").click();
  await button(page, "Enable").waitFor();
  await look(page, "registration-disabled");
  await tab(page, "Credentials").click();
  await page.getByText("This registration is disabled", { exact: false }).first().waitFor();
  check("a disabled registration prints no command that would be refused", (await region(page, "Test commands").count()) === 0);
  await look(page, "credentials-disabled");
  await tab(page, "Security").click();
  await region(page, "Secret rotation").waitFor();
  check("a disabled registration says why its secrets do not work", /This registration is disabled/.test(await region(page, "Secret rotation").textContent()));
  await look(page, "security-disabled");
  await page.goto(`${here}/environments/staging/settings`);
  await button(page, "Enable").click();
  await button(page, "Disable").waitFor();
  check("an enabled registration offers what applies again", true);

  // The one node of an instance on SQLite.
  await page.getByRole("navigation").first().getByRole("link", { name: "Nodes", exact: true }).click();
  await page.getByRole("heading", { name: "Nodes", level: 1 }).waitFor();
  check("the only node of SQLite is listed without a lease", !/Lease/.test(await page.locator("main").innerText()));
  await look(page, "nodes");

  // The rest of the dialogs, and the end of a client.
  await page.goto(`${server.url}/console/properties`);
  open_ = await dialog(page, button(page, "Create property"), "Create property", "create-property");
  await button(open_, "Cancel").click();
  await page.goto(`${server.url}/console/environments`);
  open_ = await dialog(page, button(page, "Create environment"), "Create environment", "create-environment");
  await button(open_, "Cancel").click();
  await page.goto(`${server.url}/console/environments/production`);
  open_ = await dialog(page, button(page, "Delete"), "Delete environment", "delete-environment");
  await open_.getByRole("textbox", { name: "Slug or name" }).fill("production");
  await button(open_, "Delete environment").click();
  await page.getByRole("alert").first().waitFor();
  check("an environment with clients stays, and it is said why", /client/i.test(await page.getByRole("alert").first().textContent()));
  await look(page, "environment-delete-refused");
  await page.goto(`${here}/settings`);
  open_ = await dialog(page, button(page, "Delete"), "Delete client", "delete-client");
  await open_.getByRole("textbox", { name: "Client name" }).fill("Billing");
  await open_.getByRole("textbox", { name: "Reason" }).fill("gone for good");
  await button(open_, "Delete client").click();
  await page.getByRole("heading", { name: "No clients yet" }).or(page.getByRole("table")).first().waitFor();
  await page.goto(`${server.url}/console/clients`);
  await page.getByRole("heading", { name: "No clients yet" }).waitFor();
  check("a deleted client is gone from the list", true);

  // What is not there.
  for (const path of [`/console/clients/${client.id}`, "/console/clients/cl_nothing", "/console/nothing"]) {
    await page.goto(`${server.url}${path}`);
    check(`a page that is not there says so: ${path.replace(client.id, "a deleted client")}`, /not found|no page|is gone|does not exist|was deleted|there is no/i.test(await page.getByRole("main").textContent()), await page.getByRole("main").textContent());
  }
  await look(page, "not-found");
  await context.close();
}
