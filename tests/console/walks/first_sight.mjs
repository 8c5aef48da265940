// What a person meets first: the dialogs, a leaked secret, drills, the picture of a transition, the chips and the rows.
import { browser, button, check, confirmIfAsked, look, open, region, signIn, tab } from "../browser.mjs";
import { until } from "../server.mjs";

/** Contrast between the text and the background of an element (WCAG 2.2, 1.4.3). */
const contrast = (locator) => locator.evaluate((node) => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map((it) => it / 255).map((it) => (it <= 0.03928 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const { color, backgroundColor } = getComputedStyle(node);
  const [one, other] = [light(color), light(backgroundColor)].sort((a, b) => b - a);
  return (one + 0.05) / (other + 0.05);
});
const isFilled = (locator) => locator.evaluate((node) => !/rgba\(0, 0, 0, 0\)|transparent/.test(getComputedStyle(node).backgroundColor));

export default async function firstSight(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const create = async (name, environments = ["staging", "production"]) => {
    const client = await server.api("POST", "/clients", { name, property_id: property.id, owners: ["ada@example.com"], environments });
    const registration = client.registrations.find((it) => it.environment === "production");
    return { id: registration.client_id, secret: registration.secret.value, client: client.id, page: `${server.url}/console/clients/${client.id}`, api: `/clients/${client.id}/environments/production` };
  };
  const rotate = (it, name, more = {}) => server.api("POST", `${it.api}/secrets/rotate`, { transition_hours: 24, confirm_client_name: name, ...more });
  const billing = await create("Billing");
  const page = await open(server, await browser.newContext());
  page.expected.add(422).add(409);
  await page.goto(`${billing.page}/environments/staging/credentials`);
  const email = page.getByRole("textbox", { name: "Email" });
  check("the sign-in opens with the focus in its first field", await email.evaluate((node) => node === document.activeElement));
  await signIn(page);
  await region(page, "Credentials").waitFor();

  // The chosen environment alone is filled.
  const chips = page.getByRole("navigation", { name: "Environments" });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const filled = await Promise.all(["Staging", "Production"].map((name) => isFilled(chips.getByText(name))));
    check(`the chosen environment alone is filled (${colorScheme})`, filled.join() === "true,false", filled.join());
    check(`its name can be read (${colorScheme})`, (await contrast(chips.getByText("Staging"))) >= 4.5);
  }
  await look(page, "first-switch");
  await chips.getByRole("link", { name: "Production" }).click();
  await tab(page, "Security").click();
  const card = region(page, "Secret rotation");
  const openRotate = async () => {
    await button(card, "Rotate").click();
    const dialog = page.getByRole("dialog", { name: "Rotate client secret" });
    await dialog.waitFor();
    return dialog;
  };

  // Typing replaces the number, and a chosen chip can be read under the pointer.
  // A dialog is shown, and its field focused, in steps: nobody types before that.
  const isFocused = () => page.evaluate(async () => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return document.activeElement?.matches("dialog[open] input") ?? false;
  });
  const typed = async (text) => {
    await until(isFocused, "a field of the dialog is focused");
    await page.keyboard.type(text);
  };
  let dialog = await openRotate();
  const hours = () => page.getByRole("dialog").getByRole("spinbutton", { name: "Transition period" });
  await typed("48");
  check("typing into the opened dialog replaces the hours", (await hours().inputValue()) === "48", await hours().inputValue());
  const chip = button(dialog, "72 h");
  await chip.click();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.mouse.move(0, 0);
    await chip.hover();
    check(`a chosen period can be read under the pointer (${colorScheme})`, (await contrast(chip)) >= 4.5, String(await contrast(chip)));
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });

  // A dialog opens fresh: after Cancel, after Esc, and after a refusal.
  const name = () => page.getByRole("dialog").getByRole("textbox", { name: "Client name" });
  const reason = () => page.getByRole("dialog").getByRole("textbox", { name: "Reason" });
  const isFresh = async () => (await hours().inputValue()) === "24" && (await name().inputValue()) === "" && (await reason().inputValue()) === "" && (await page.getByRole("dialog").getByRole("alert").count()) === 0;
  for (const close of [() => button(page.getByRole("dialog"), "Cancel").click(), () => page.keyboard.press("Escape")]) {
    await hours().fill("48");
    await name().fill("Billing");
    await reason().fill("typed before");
    await close();
    await openRotate();
    check("a dialog that was closed opens fresh", await isFresh(), `${await hours().inputValue()} ${await name().inputValue()}`);
  }
  await hours().fill("48");
  await name().fill("Biling");
  await button(page.getByRole("dialog"), "Rotate secret").click();
  await page.getByRole("dialog").getByRole("alert").first().waitFor();
  check("a refused dialog opens at the field that is wrong", await name().evaluate((node) => node === document.activeElement && node.getAttribute("aria-invalid") === "true"));
  await page.keyboard.type("Bill");
  check("what was wrong is taken back as soon as something else is typed", (await name().inputValue()) === "Bill" && (await name().getAttribute("aria-invalid")) === null && (await page.getByRole("dialog").getByText("must match the client", { exact: false }).count()) === 0);
  await page.keyboard.press("Escape");
  await openRotate();
  await until(isFresh, "the dialog is fresh after a refusal");
  check("a dialog that was refused and closed opens fresh", true);
  await page.keyboard.press("Escape");
  check("the focus goes back to what opened the dialog", await button(card, "Rotate").evaluate((node) => node === document.activeElement));

  // A leaked secret, found from the Overview by its name.
  check("the old secret works", (await server.use("production", billing.id, billing.secret)) === 200);
  await page.goto(`${server.url}/console`);
  await page.getByRole("searchbox", { name: "Find a client by name or client_id" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("Bill");
  await page.keyboard.press("Enter");
  const found = page.getByRole("rowheader", { name: "Billing" }).getByRole("link");
  await found.waitFor();
  check("a client is found from the Overview by its name in one step", await found.evaluate((node) => node === document.activeElement));
  await page.getByRole("row", { name: /Billing/ }).getByRole("link", { name: "Production" }).click();
  await card.waitFor();
  dialog = await openRotate();
  const leaked = dialog.getByRole("checkbox", { name: "The secret has leaked" });
  const tokens = dialog.getByRole("checkbox", { name: "End the access tokens issued under it" });
  await hours().fill("72");
  check("the box about tokens is hidden until a leak is chosen", !(await tokens.isVisible()));
  await leaked.check();
  check("a leaked secret sets 0 hours and ends the tokens", (await hours().inputValue()) === "0" && (await tokens.isChecked()) && !(await button(dialog, "24 h").isVisible()));
  await until(async () => /1 caller has used it/.test(await dialog.textContent()), "the dialog counts the caller");
  check("the dialog says what fails and until when tokens are accepted", /ends immediately. Callers that use it fail/.test(await dialog.textContent()) && /offline may accept one until \w+ \d+ \w+/.test(await dialog.textContent()), await dialog.textContent());
  await look(page, "dialog-rotate-leaked");
  await leaked.uncheck();
  check("what was set before comes back", (await hours().inputValue()) === "72" && (await button(dialog, "24 h").isVisible()) && !(await tokens.isVisible()));
  await leaked.check();
  await button(dialog, "Cancel").click();
  dialog = await openRotate();
  check("a leak that was chosen and cancelled is forgotten", await isFresh() && !(await leaked.isChecked()) && await hours().isEditable());
  await leaked.check();
  await name().fill("Billing");
  await button(dialog, "Rotate secret").click();
  const said = page.getByRole("status").filter({ hasText: "expires" }).first();
  await said.waitFor();
  check("the message says that the tokens ended", /Access tokens issued under the leaked secret were ended .*offline may accept one until/.test(await said.textContent()), await said.textContent());
  check("the focus goes to the new secret", await button(region(page, "Credentials"), "Show secret").evaluate((node) => node === document.activeElement));
  const described = await button(region(page, "Credentials"), "Show secret").evaluate((node) => node.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent).join(" "));
  check("what was said is read out with it", /was rotated/.test(described), described);
  check("the leaked secret is refused", (await server.use("production", billing.id, billing.secret)) === 401);
  await look(page, "credentials-leaked");
  await tab(page, "Security").click();
  const history = page.getByRole("table", { name: "Secret rotation history" });
  check("Security says what ended", /tokens issued under the leaked secret were ended/.test(await page.getByRole("group", { name: "Ended tokens" }).textContent()) && /Leaked/.test(await history.getByRole("row").nth(1).textContent()));
  await look(page, "security-leaked");

  // Right after a rotation nothing is drawn ahead, and the numbers of a dialog are those of the page.
  const invoices = await create("Invoices", ["production"]);
  await rotate(invoices, "Invoices");
  await page.goto(`${invoices.page}/environments/production/security`);
  await card.waitFor();
  check("the picture ahead is empty until the new secret is used", (await region(page, "Use of both secrets").locator(".cf-new-wash").count()) === 0 && (await region(page, "Use of both secrets").locator("svg.crossfade").count()) === 1);
  await look(page, "security-unmoved");
  await server.use("production", invoices.id, invoices.secret, "job-a/1.0");
  await until(async () => /1 caller still uses/.test(await card.textContent()), "the caller is counted");
  const picture = region(page, "Use of both secrets");
  check("share and callers say what each of them counts", /The share counts uses\. .*the old secret had 100% \(total uses: 1\)/.test(await picture.textContent()) && /Callers are counted separately/.test(await picture.textContent()), await picture.textContent());
  const drills = region(page, "Drills");
  await button(drills, "Schedule drill").click();
  dialog = page.getByRole("dialog", { name: "Schedule drill" });
  await typed("30");
  check("the length of a drill is replaced by typing", (await dialog.getByLabel("Window length").inputValue()) === "30");
  for (const agent of ["job-b/1.0", "job-c/1.0"]) await server.use("production", invoices.id, invoices.secret, agent);
  await until(async () => /3 callers still use/.test(await dialog.textContent()) && /3 callers still use/.test(await card.textContent()), "dialog and page count the same callers");
  check("an open dialog counts the callers that the page counts", (await dialog.getByLabel("Window length").inputValue()) === "30");

  // Two drills, and then a revocation: each keeps whom it found.
  const drill = async (agent, why) => {
    await dialog.getByLabel("Client name").fill("Invoices");
    await dialog.getByLabel("Reason").fill(why);
    await button(dialog, "Schedule drill").click();
    await page.getByRole("status").filter({ hasText: "The drill was scheduled" }).first().waitFor();
    check(`${agent} is refused in the window`, (await server.use("production", invoices.id, invoices.secret, agent)) === 401);
    await until(async () => (await drills.textContent()).includes(agent), "the drill found the caller");
    await button(drills, "Stop drill").click();
    await button(page.getByRole("dialog", { name: "Stop drill" }), "Stop drill").click();
    await page.getByRole("status").filter({ hasText: "The drill was stopped" }).first().waitFor();
  };
  await drill("job-a/1.0", "first look");
  await button(drills, "Schedule drill").click();
  await drill("job-b/1.0", "second look");
  const foundBy = async () => (await drills.getByRole("table").allTextContents()).slice(1).map((text) => ["job-a", "job-b"].filter((agent) => text.includes(agent)).join());
  check("a second drill keeps what the first one found", (await foundBy()).join("|") === "job-b|job-a", (await foundBy()).join("|"));
  await look(page, "drills-two");

  // Not safe to end: the name is asked for.
  await button(history, "Revoke").click();
  dialog = page.getByRole("dialog", { name: "Revoke old secret" });
  await reason().fill("moved");
  check("revoking what is still used asks for the client's name", await name().isVisible());
  await look(page, "dialog-revoke-unsafe");
  await name().fill("Invoice");
  await button(dialog, "Revoke").click();
  await page.getByRole("dialog", { name: "Revoke old secret" }).getByRole("alert").first().waitFor();
  check("a wrong name revokes nothing", (await server.use("production", invoices.id, invoices.secret, "job-a/1.0")) === 200);
  await name().fill("Invoices");
  await button(page.getByRole("dialog", { name: "Revoke old secret" }), "Revoke").click();
  await page.getByRole("status").filter({ hasText: "revoked" }).first().waitFor();
  check("the old secret ended with the right name", (await server.use("production", invoices.id, invoices.secret, "job-a/1.0")) === 401);
  check("after the end the drills and whom they found are still there", (await foundBy()).join("|") === "job-b|job-a", (await foundBy()).join("|"));
  await history.getByText("2 drills, 2 callers found").click();
  check("the history has the drills of its transition", /first look/.test(await history.textContent()) && (await history.getByText("job-a/1.0").isVisible()));
  await look(page, "drills-after-the-end");

  // A dialog whose subject has gone says so.
  const ledger = await create("Ledger", ["production"]);
  await rotate(ledger, "Ledger");
  await page.goto(`${ledger.page}/environments/production/security`);
  await button(history, "Extend").click();
  dialog = page.getByRole("dialog", { name: "Extend deadline" });
  await rotate(ledger, "Ledger", { end_running_transition: true });
  await dialog.getByText("has changed since you opened this dialog", { exact: false }).waitFor();
  check("an open dialog says that the page has changed", true);
  await look(page, "dialog-stale");
  await button(dialog, "Cancel").click();

  // The charts of the Overview each say their own.
  const wages = await create("Wages", ["production"]);
  await rotate(wages, "Wages");
  await server.use("production", wages.id, wages.secret);
  await page.goto(`${server.url}/console`);
  const charts = region(page, "Running transitions").locator("[role=img]");
  await until(async () => (await charts.count()) === 2, "both transitions are drawn");
  const labels = await charts.evaluateAll((nodes) => nodes.map((node) => node.getAttribute("aria-label")));
  check("each chart of the Overview says its own", labels.some((it) => /^Ledger in Production: .*not been used since the rotation/.test(it)) && labels.some((it) => /^Wages in Production: .*last used \d+ \w+ \d+, \d+:\d+ UTC/.test(it)), labels.join(" | "));
  await look(page, "overview-find");

  // Actions of a row are there without a pointer.
  await page.goto(`${server.url}/console/properties`);
  await page.mouse.move(0, 0);
  check("actions of a row are visible at rest", (await button(page, "Rename").evaluate((node) => getComputedStyle(node.parentElement).opacity)) === "1");
  await button(page, "Rename").click();
  dialog = page.getByRole("dialog", { name: "Rename property" });
  await typed("Web shop");
  check("a name to change is replaced by typing", (await dialog.getByLabel("Name").inputValue()) === "Web shop");
  await page.keyboard.press("Escape");
  await button(page, "Rename").click();
  check("a change that was cancelled is forgotten", (await dialog.getByLabel("Name").inputValue()) === "Shop");
  await page.keyboard.press("Escape");

  // A name that was mistyped is in the trail with its reason.
  await page.goto(`${server.url}/console/audit?action=access.refused`);
  check("a refusal in the trail has its reason", /The confirmation does not match/.test(await page.getByRole("table").textContent()), await page.getByRole("table").textContent());
  await page.context().close();
}
