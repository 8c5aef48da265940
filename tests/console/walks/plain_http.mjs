// A server that is reached by name over plain http: the browser gives its pages no clipboard, and copying works all the
// same or says how to do it by hand.
import { INTERNAL, browser, button, check, look, open, region, signIn } from "../browser.mjs";

export const options = { host: INTERNAL };

export default async function plainHttp(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["staging"] });
  const context = await browser.newContext();
  const page = await open(server, context);
  await page.goto(`${server.url}/console/clients/${client.id}/environments/staging/credentials`);
  await signIn(page);
  await region(page, "Credentials").waitFor();
  check("over plain http the browser gives no clipboard", await page.evaluate(() => !isSecureContext && navigator.clipboard === undefined));
  // What was copied is seen where it is pasted.
  const pasted = async () => {
    await page.evaluate(() => { document.body.append(Object.assign(document.createElement("textarea"), { id: "paste" })); });
    await page.locator("#paste").focus();
    await page.keyboard.press("Control+V");
    const text = await page.locator("#paste").inputValue();
    await page.evaluate(() => document.querySelector("#paste").remove());
    return text;
  };
  const copy = button(page, "Copy client_id");
  await copy.click();
  await page.getByRole("status").filter({ hasText: /^Copied$/ }).waitFor();
  check("over plain http an ID is copied", (await pasted()) === client.registrations[0].client_id);
  await button(region(page, "Test commands"), "Copy").first().click();
  check("over plain http a command is copied", (await pasted()).includes("oauth2/token"));
  await button(region(page, "Credentials"), "Copy secret").click();
  await page.getByText("Your browser blocked copying. Show the secret and copy it manually.").waitFor();
  check("over plain http a secret that cannot be copied says what to do", true);
  // Where even the older command is refused, there is a sentence, and no button that does nothing.
  await page.evaluate(() => { document.execCommand = () => false; });
  await copy.click();
  await page.getByRole("status").filter({ hasText: "Select the text and copy it manually." }).waitFor();
  await button(region(page, "Test commands"), "Copy").first().click();
  await page.getByRole("status").filter({ hasText: "The text is selected. Copy it manually." }).waitFor();
  check("a text that cannot be copied is selected, and the page says so", (await page.evaluate(() => getSelection().toString())).includes("oauth2/token"));
  await look(page, "copy-refused");
  await context.close();
}
