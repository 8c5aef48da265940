// The walk of the manual: a first client, its rotation, what follows from it, and the sections around it.
import { browser, button, check, confirmIfAsked, fillRotation, look, open, region, revealed, signIn, tab } from "../browser.mjs";
import { until } from "../server.mjs";

export default async function rotation(server) {
  const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], bypassCSP: false });
  const page = await open(server, context);

  await page.goto(`${server.url}/console/clients`);
  await signIn(page);
  await page.getByRole("heading", { name: "No clients yet" }).waitFor();
  await look(page, "clients-empty");
  await page.getByRole("link", { name: "Overview" }).click();
  await page.getByRole("heading", { name: "Register your first client" }).waitFor();
  await look(page, "overview-empty");

  // Create a client.
  await page.getByRole("link", { name: "Create client" }).click();
  await page.getByRole("textbox", { name: "Property name" }).fill("Shop");
  await button(page, "Create property").click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("Billing");
  await page.getByRole("checkbox", { name: "Production" }).check();
  await look(page, "create-client");
  await button(page, "Create client").click();
  await tab(page, "Credentials").waitFor();
  check("the client is created, and its environment's tab is open", (await page.getByRole("heading", { level: 1 }).textContent()) === "Billing");

  // To the rotation, as the manual walks.
  await page.getByRole("link", { name: "Clients", exact: true }).first().click();
  await look(page, "clients");
  await page.getByRole("rowheader", { name: "Billing" }).getByRole("link").click();
  await look(page, "client-overview");
  const rotators = page.getByRole("table", { name: "Who can rotate its secrets" });
  check("the client's page says who may rotate, and leads to the roles", (await rotators.textContent()).includes("ada") && (await region(page, "Who can rotate its secrets").getByRole("link", { name: "roles" }).getAttribute("href")) === "/docs/roles");
  await tab(page, "Environment").click();
  await page.getByRole("navigation", { name: "Environments" }).getByRole("link", { name: "Production" }).click();
  await region(page, "Configure your client").waitFor();
  await look(page, "credentials");
  const first = await revealed(page, region(page, "Credentials"));
  check("the eye shows the secret", /^[a-z]+_live_/.test(first), first.slice(0, 16));
  const eye = button(region(page, "Credentials"), "Show secret").first();
  check("the eye keeps its name and says that it is pressed", (await eye.getAttribute("aria-pressed")) === "true");
  await eye.click();
  check("the eye hides it again", (await eye.getAttribute("aria-pressed")) === "false" && !(await page.content()).includes(first));
  const clientId = await region(page, "Credentials").locator("dd code").first().textContent();
  check("the old secret works", (await server.use("production", clientId, first)) === 200);

  await tab(page, "Security").click();
  await region(page, "Secret rotation").waitFor();
  await look(page, "security-before");
  const rotationCard = region(page, "Secret rotation");
  check("the current secret, hidden, and the last rotation stand beside Rotate", (await rotationCard.locator(".secret-value").first().textContent()).startsWith("•") && (await rotationCard.textContent()).includes("Never rotated"));
  check("the age of the secret stands against the policy of 90 days", /0 days \(maximum 90\)/.test(await rotationCard.textContent()));

  // A wrong name changes nothing, and nothing typed is lost.
  page.expected.add(422).add(409);
  let dialog = await fillRotation(page, "Biling", 24);
  await dialog.getByRole("textbox", { name: "Reason" }).fill("quarterly");
  await look(page, "dialog-rotate");
  check("the dialog names the client and the environment", /Billing/.test(await dialog.textContent()) && /Production/.test(await dialog.textContent()));
  const period = dialog.getByRole("spinbutton", { name: "Transition period" });
  check("the transition period is any whole number of hours from 0 to 168", (await period.getAttribute("min")) === "0" && (await period.getAttribute("max")) === "168" && (await period.getAttribute("step")) === "1");
  check("the usual periods are a click away", (await dialog.getByRole("button", { name: / h$/ }).allTextContents()).map((it) => it.trim()).join() === "0 h,1 h,24 h,72 h,168 h");
  check("the dialog says when exactly the old secret ends", /ends \w+ \d+ \w+.*UTC/.test(await dialog.locator("deadline-preview").textContent()));
  await button(dialog, "Rotate secret").click();
  dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await dialog.getByRole("alert").first().waitFor();
  check("what was typed is still there", (await dialog.getByRole("textbox", { name: "Reason" }).inputValue()) === "quarterly");
  check("the wrong name is told beside its field", (await dialog.getByRole("textbox", { name: "Client name" }).getAttribute("aria-invalid")) === "true");
  await look(page, "dialog-rotate-refused");

  // The rotation, by a double click, with a sign-in that is too old.
  server.age();
  await dialog.getByRole("textbox", { name: "Client name" }).fill("Billing");
  const sent = [];
  page.on("request", (request) => { if (request.method() === "POST" && request.url().endsWith("/rotate")) sent.push(request.url()); });
  await button(dialog, "Rotate secret").dblclick();
  await confirmIfAsked(page);
  const status = page.getByRole("status").filter({ hasText: "expires" });
  await status.first().waitFor();
  check("a message says when the old secret expires", true);
  check("a double click sends one rotation", sent.length === 1, String(sent.length));
  check("the new secret stands under Credentials", (await tab(page, "Credentials").getAttribute("aria-selected")) === "true");
  const second = await revealed(page, region(page, "Credentials"));
  check("the new secret is another one, and both work", second !== first && (await server.use("production", clientId, second)) === 200 && (await server.use("production", clientId, first, "old-job/1.0")) === 200);
  await button(region(page, "Credentials"), "Copy secret").first().click();
  await until(async () => (await page.evaluate(() => navigator.clipboard.readText())) === second, "the secret is in the clipboard");
  check("the copy button copies the secret", true);
  await page.reload();
  check("the value stands in no page after a reload", !(await page.content()).includes(second));
  await tab(page, "Security").click();
  await region(page, "Secret rotation").waitFor();
  await page.goBack();
  check("nor after going back", (await tab(page, "Credentials").getAttribute("aria-selected")) === "true" && !(await page.content()).includes(second));

  // History and callers.
  await tab(page, "Security").click();
  const history = page.getByRole("table", { name: "Secret rotation history" });
  const heads = await history.getByRole("columnheader").allTextContents();
  check("the history has its columns", heads.map((it) => it.trim()).join("|") === "Secret|Initiated by|Rotation date|Expiration date|Status|Last used|Actions", heads.join("|"));
  const row = history.getByRole("row").nth(1);
  check("secrets in the history are hidden at first", !(await history.textContent()).includes("_live_"));
  check("the history is sorted by the latest rotation", (await history.getByRole("columnheader", { name: "Rotation date" }).getAttribute("aria-sort")) === "descending");
  check("what applies now can be done from the history", (await Promise.all(["Copy", "Revoke", "Extend", "Roll back"].map((name) => button(row, name).isVisible()))).every(Boolean));
  check("the history names who rotated and why", (await row.textContent()).includes("quarterly") && (await row.textContent()).includes("ada"));
  check("the old secret can be shown from the history", (await revealed(page, row)) === first);
  await button(row, "Show secret").click();
  await button(row, "Copy").click();
  await until(async () => (await page.evaluate(() => navigator.clipboard.readText())) === first, "the old secret is in the clipboard");
  await until(async () => (await page.getByRole("table", { name: "Callers" }).textContent()).includes("old-job/1.0"), "the caller that is left stands in the table");
  check("callers that still use the old secret are seen as it happens", true);
  const change = page.getByRole("group", { name: "Change-over" });
  check("the page says how the change-over stands, and why", /still uses? the old secret|No caller has used the new secret/.test(await change.textContent()), await change.textContent());
  await change.getByText("What this check cannot see").click();
  check("and what it cannot see", await change.getByText("A caller that holds an access token", { exact: false }).isVisible());
  await look(page, "security-transition");
  await page.getByRole("link", { name: "Overview" }).first().click();
  await look(page, "overview");
  await page.goBack();

  // A running transition refuses another rotation until it is said to end.
  dialog = await fillRotation(page, "Billing", 1);
  await look(page, "dialog-rotate-running");
  await button(dialog, "Rotate secret").click();
  await page.getByRole("dialog", { name: "Rotate client secret" }).getByRole("alert").first().waitFor();
  check("a running transition is told in words", true);
  await button(page.getByRole("dialog", { name: "Rotate client secret" }), "Cancel").click();

  // Extend is refused beyond the range, with what was typed.
  await button(page.getByRole("table", { name: "Secret rotation history" }), "Extend").click();
  dialog = page.getByRole("dialog", { name: "Extend deadline" });
  await dialog.getByLabel("New deadline (UTC)").fill("2099-01-01T00:00");
  await dialog.getByRole("textbox", { name: "Reason" }).fill("slow team");
  await look(page, "dialog-extend");
  await button(dialog, "Extend").click();
  dialog = page.getByRole("dialog", { name: "Extend deadline" });
  await dialog.getByRole("alert").first().waitFor();
  check("a deadline out of range is refused in words", (await dialog.getByRole("textbox", { name: "Reason" }).inputValue()) === "slow team");
  await button(dialog, "Cancel").click();

  // Roll back is warned of when the new secret is in use; then revoke.
  await button(page.getByRole("table", { name: "Secret rotation history" }), "Roll back").click();
  dialog = page.getByRole("dialog", { name: "Roll back rotation" });
  check("a roll back asks about the secret in use", await dialog.getByRole("checkbox", { name: "Revoke it anyway" }).isVisible());
  await look(page, "dialog-rollback");
  await button(dialog, "Cancel").click();
  await button(page.getByRole("table", { name: "Secret rotation history" }), "Revoke").click();
  dialog = page.getByRole("dialog", { name: "Revoke old secret" });
  await dialog.getByRole("textbox", { name: "Reason" }).fill("everybody has moved");
  await dialog.getByRole("textbox", { name: "Client name" }).fill("Billing");
  await look(page, "dialog-revoke");
  await button(dialog, "Revoke").click();
  await page.getByRole("status").filter({ hasText: "revoked" }).first().waitFor();
  check("a revoked secret is dead at once, the new one lives", (await server.use("production", clientId, first)) === 401 && (await server.use("production", clientId, second)) === 200);
  check("what does not apply any more is not offered", (await button(page.getByRole("table", { name: "Secret rotation history" }), "Revoke").count()) === 0);

  // Settings.
  await tab(page, "OAuth settings").click();
  await look(page, "registration-settings");
  await button(page, "Disable").click();
  dialog = page.getByRole("dialog", { name: "Disable registration" });
  await look(page, "dialog-disable");
  await button(dialog, "Cancel").click();
  await tab(page, "Client settings").click();
  await look(page, "client-settings");

  // The other sections.
  for (const [name, wait, picture] of [["Properties", "Shop", "properties"], ["Environments", "Production", "environments"], ["Audit", "Secret rotated", "audit"], ["People", "ada", "people"]]) {
    const here = page.url();
    await page.getByRole("link", { name, exact: true }).first().click();
    await page.getByRole("table").getByText(wait).first().waitFor();
    await look(page, picture);
    await page.goto(here);
  }
  const exported = await page.evaluate(async () => (await fetch("/console/audit/export?action=secret.rotated")).text());
  check("the trail is exported as JSON lines", JSON.parse(exported.trim().split("\n")[0]).action === "secret.rotated");
  await page.goto(`${server.url}/console/environments/production`);
  await look(page, "environment");
  await button(page, "Rotate signing key").click();
  await look(page, "dialog-signing-key");
  await button(page.getByRole("dialog", { name: "Rotate signing key" }), "Cancel").click();
  await page.goto(`${server.url}/console/properties`);
  await page.getByRole("row", { name: /Shop/ }).hover();
  await button(page, "Rename").click();
  dialog = page.getByRole("dialog", { name: "Rename property" });
  await dialog.getByLabel("Name").fill("Web shop");
  await look(page, "dialog-rename-property");
  await button(dialog, "Rename").click();
  await page.getByRole("rowheader", { name: "Web shop" }).waitFor();
  await page.getByRole("row", { name: /Web shop/ }).hover();
  await button(page, "Delete").click();
  await button(page.getByRole("dialog", { name: "Delete property" }), "Delete").click();
  await page.getByRole("alert").first().waitFor();
  check("a property with clients stays, and it is said why", await page.getByRole("rowheader", { name: "Web shop" }).isVisible());

  // A second environment that shows secrets once: the value is in the answer, and nowhere else.
  await server.api("PATCH", "/environments/staging", { show_once: true });
  await page.goto(`${server.url}/console/clients`);
  await page.getByRole("rowheader", { name: "Billing" }).getByRole("link").click();
  await tab(page, "Client settings").click();
  await page.getByRole("combobox", { name: "Environment" }).selectOption("staging");
  await button(page, "Add environment").click();
  await page.getByRole("heading", { name: /New secret/ }).waitFor();
  await look(page, "shown-once");
  check("a secret that is shown once is hidden until it is asked for", !(await page.evaluate(() => document.body.innerHTML)).includes("_test_"));
  const once = await revealed(page, region(page, /New secret/));
  const staged = await page.locator("dd code").first().textContent();
  check("the secret that was shown once works", (await server.use("staging", staged, once)) === 200);
  await page.getByRole("link", { name: "I have stored it" }).click();
  await region(page, "Credentials").waitFor();
  check("it is not shown again", (await button(page, "Show secret").count()) === 0 && (await region(page, "Credentials").textContent()).includes("Shown only once"));
  await tab(page, "Security").click();
  dialog = await fillRotation(page, "Billing", 24);
  await button(dialog, "Rotate secret").click();
  await page.getByRole("heading", { name: /New secret/ }).waitFor();
  const rotatedOnce = await revealed(page, region(page, /New secret/));
  check("a rotation there hands the new secret out in its own answer", rotatedOnce !== once && (await server.use("staging", staged, rotatedOnce)) === 200);
  await page.getByRole("link", { name: "I have stored it" }).click();
  await region(page, "Secret rotation").waitFor();
  await page.goto(page.url().replace(/\/environments.*/, "/settings"));

  // Another person rotates: it is seen without a reload.
  await page.goto(page.url().replace(/\/settings.*/, "/environments/development/security"));
  await region(page, "Secret rotation").waitFor();
  const client = /clients\/([^/]+)/.exec(page.url())[1];
  await server.api("POST", `/clients/${client}/environments/development/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing", reason: "by a program" });
  await page.getByText("by a program").waitFor();
  check("what another does is seen as it happens", true);

  // With the keyboard alone.
  await page.goto(page.url().replace("development", "production"));
  await region(page, "Secret rotation").waitFor();
  await page.keyboard.press("r");
  dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await dialog.waitFor();
  const focus = async (locator) => {
    for (let step = 0; step < 40; step += 1) {
      if (await locator.evaluate((node) => node === document.activeElement)) return;
      await page.keyboard.press("Tab");
    }
    check("the keyboard reaches every part", false, String(locator));
  };
  await focus(dialog.getByRole("spinbutton", { name: "Transition period" }));
  await page.keyboard.press("Control+a");
  await page.keyboard.type("0");
  await focus(dialog.getByRole("textbox", { name: "Client name" }));
  await page.keyboard.type("Billing");
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "expires" }).first().waitFor();
  check("a rotation with the keyboard alone, with period 0, ends the old secret", (await server.use("production", clientId, second)) === 401);
  await context.close();
}
