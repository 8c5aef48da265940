// A webhook: created, tested, rotated (and not while an overlap runs), changed and deleted. Its signing secret is shown once, and the path of its URL on no list.
import { browser, button, check, confirmIfAsked, look, open, signIn } from "../browser.mjs";

export default async function webhooks(server) {
  const context = await browser.newContext();
  const page = await open(server, context);
  page.expected.add(422).add(409);
  await page.goto(`${server.url}/console`);
  await signIn(page);
  await page.getByRole("link", { name: "Webhooks", exact: true }).first().click();
  await page.getByRole("heading", { name: "Webhooks", level: 1 }).waitFor();
  await look(page, "webhooks-none");
  await button(page, "Create webhook").first().click();
  let dialog = page.getByRole("dialog", { name: "Create webhook" });
  await dialog.waitFor();
  await dialog.getByLabel("Name", { exact: true }).fill("Billing alerts");
  await dialog.getByLabel("URL").fill("https://127.0.0.1/");
  await dialog.getByLabel("Confirmation").fill("platform");
  await look(page, "dialog-webhook");
  server.age();
  await button(dialog, "Create webhook").click();
  await confirmIfAsked(page);
  await page.getByText(/URL must name a public address/).waitFor();
  await look(page, "dialog-webhook-refused");
  dialog = page.getByRole("dialog", { name: "Create webhook" });
  // A name that never resolves: nothing leaves this machine.
  await dialog.getByLabel("URL").fill("https://hooks.invalid/services/canary");
  await button(dialog, "Create webhook").click();
  await page.getByRole("heading", { name: "Billing alerts", level: 1 }).waitFor();
  const secret = await page.locator("#signing-secret").textContent();
  check("a new webhook shows its signing secret", /^whsec_[0-9A-Za-z+/=]{44}$/.test(secret), secret);
  await look(page, "webhook-created");
  await page.reload();
  check("a signing secret is shown once", !(await page.content()).includes(secret));
  await button(page, "Send test").click();
  await page.getByText("A test message was queued").waitFor();
  for (let tries = 0; tries < 40 && !(await page.content()).includes("the host name has no address"); tries += 1) {
    await new Promise((done) => setTimeout(done, 500));
    await page.reload();
  }
  check("a failed delivery says why", (await page.getByRole("table", { name: "Deliveries" }).textContent()).includes("the host name has no address"));
  await look(page, "webhook");
  await page.getByRole("button", { name: /^Replay del_/ }).click();
  await page.getByText("queued again under its ID").waitFor();
  await button(page, "Rotate signing secret").first().click();
  dialog = page.getByRole("dialog", { name: "Rotate signing secret" });
  await dialog.waitFor();
  await look(page, "dialog-webhook-rotate");
  await button(dialog, "Rotate signing secret").click();
  await page.getByText("signs as well until").waitFor();
  check("a rotation shows another secret", (await page.locator("#signing-secret").textContent()) !== secret);
  await button(page, "Rotate signing secret").first().click();
  dialog = page.getByRole("dialog", { name: "Rotate signing secret" });
  await dialog.getByText("The earlier secret signs until").waitFor();
  await button(dialog, "Rotate signing secret").click();
  await page.getByText("The earlier signing secret still signs").waitFor();
  await look(page, "dialog-webhook-overlap");
  await page.reload();
  await page.getByLabel("URL").fill("https://hooks.invalid/services/other");
  await button(page, "Save changes").click();
  await page.getByText(/confirm_name|Confirmation/).first().waitFor();
  await page.getByText("must be platform").first().waitFor();
  await page.getByLabel("Confirmation").fill("platform");
  await button(page, "Save changes").click();
  await page.getByText("The webhook was changed.").waitFor();
  await page.goto(`${server.url}/console/webhooks`);
  await look(page, "webhooks");
  check("the list has the host and not the path", !(await page.content()).includes("/services/"));
  await page.getByRole("link", { name: "Billing alerts", exact: true }).click();
  await button(page, "Delete").first().click();
  dialog = page.getByRole("dialog", { name: "Delete webhook" });
  await dialog.getByLabel("Webhook name").fill("Billing alerts");
  await look(page, "dialog-webhook-delete");
  await button(dialog, "Delete").click();
  await page.getByText("The webhook was deleted").waitFor();
}
