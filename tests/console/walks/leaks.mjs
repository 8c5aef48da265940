// A found secret: pasted, identified, and ended. The pasted text stands in no address and on no page; and all of it works
// without a script.
import { browser, button, check, confirmIfAsked, look, open, signIn } from "../browser.mjs";

export default async function leaks(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const made = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["production", "staging"] });
  const [live, test] = ["production", "staging"].map((name) => made.registrations.find((it) => it.environment === name).secret);
  const rotate = { transition_hours: 24, confirm_client_name: "Billing" };
  await server.api("POST", `/clients/${made.id}/environments/staging/secrets/rotate`, rotate);
  const unknown = `crossfade_live_${"0".repeat(43)}`;

  const context = await browser.newContext();
  const page = await open(server, context);
  await page.goto(`${server.url}/console`);
  await signIn(page);
  await page.getByRole("link", { name: "Leaks", exact: true }).first().click();
  await page.getByRole("heading", { name: "Leaks", level: 1 }).waitFor();
  await look(page, "leaks");
  const identify = async (on, text) => {
    await on.getByLabel("Text", { exact: true }).fill(text);
    await button(on, "Identify secrets").click();
    await on.getByRole("region", { name: "Result" }).waitFor();
  };
  await identify(page, `SECRET=${live.value}\n${Buffer.from(`id:${test.value}`).toString("base64")}\n${unknown}`);
  await look(page, "leaks-found");
  const rows = await page.getByRole("table", { name: "Secrets in the text" }).locator("tbody tr").allTextContents();
  check("a pasted text shows each secret in it", rows.length === 2 && /Billing/.test(rows[0]) && /In base64/.test(rows[1]), rows.join(" | "));
  const content = await page.content();
  check("a pasted text is not shown again", ![live.value.slice(15), "SECRET=", "aWQ6"].some((it) => content.includes(it)));
  check("a pasted text is in no address and no storage", !page.url().includes("crossfade_") && !(await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]))).includes("crossfade_live"));
  await identify(page, "nothing of ours");
  await page.getByText("The text contains no client secret.").waitFor();
  await look(page, "leaks-nothing");

  // The button leads to the rotation, filled in for a leak.
  await identify(page, live.value);
  await page.getByRole("link", { name: "Rotate", exact: true }).click();
  let dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await dialog.waitFor();
  await look(page, "dialog-leaks-rotate");
  const filled = [await dialog.getByLabel("Transition period").inputValue(), await dialog.getByRole("checkbox", { name: /The secret has leaked/ }).isChecked()];
  check("a current secret leads to a rotation of a leaked one", filled.join() === "0,true", filled.join());
  await dialog.getByRole("textbox", { name: "Client name" }).fill("Billing");
  server.age();
  await button(dialog, "Rotate secret").click();
  await confirmIfAsked(page);
  await page.getByText(/refused from now on/).first().waitFor();
  await page.goto(`${server.url}/console/leaks`);
  await identify(page, live.value);
  check("an ended secret needs nothing", (await page.getByRole("link", { name: /^(Rotate|Revoke)$/ }).count()) === 0 && /Leaked/.test(await page.getByRole("table").textContent()));

  // Without a script.
  const still = await (await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() })).newPage();
  await still.goto(`${server.url}/console/leaks`);
  await identify(still, test.value);
  await still.getByRole("link", { name: "Revoke", exact: true }).click();
  dialog = still.locator("dialog#revoke");
  check("without a script a retiring secret leads to its revocation", (await dialog.isVisible()) && (await dialog.getByRole("checkbox", { name: /The old secret has leaked/ }).isChecked()));
}
