// The walk of the manual with the keyboard alone, counted: every key, and each text that is typed as one.
import { browser, button, check, open, region, tab } from "../browser.mjs";
import { EMAIL, PASSWORD, until } from "../server.mjs";

export default async function keyboard(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  await server.api("POST", "/clients", { name: "Warehouse", property_id: property.id, environments: ["production"] });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["development", "production"] });
  const registration = client.registrations.find((it) => it.environment === "production");
  const page = await open(server, await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"] }));
  const pressed = [];
  const press = async (...keys) => {
    for (const key of keys) {
      pressed.push(key);
      await page.keyboard.press(key);
    }
  };
  const type = async (text) => {
    pressed.push(`"${text}"`);
    await page.keyboard.type(text);
  };
  const here = (locator) => until(() => locator.evaluate((node) => node === document.activeElement, undefined, { timeout: 500 }).catch(() => false), `the focus is on ${locator}`);
  const at = async (name, locator) => check(`the keyboard's focus is on ${name}`, await here(locator).then(() => true, () => false), await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200)));

  await page.goto(`${server.url}/console`);
  await at("the email", page.getByRole("textbox", { name: "Email" }));
  await type(EMAIL);
  await press("Tab");
  await type(PASSWORD);
  await press("Enter");
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  await press("g", "c");
  await page.getByRole("heading", { name: "Clients", level: 1 }).waitFor();
  await at("the content of the list", page.getByRole("main"));
  await press("/");
  await type("Billing");
  await press("Enter");
  await at("the client that was found", page.getByRole("rowheader", { name: "Billing" }).getByRole("link"));
  await press("Enter");
  await at("the tabs of the client", tab(page, "Overview"));
  await press("ArrowRight", "Enter");
  await region(page, "Configure your client").waitFor();
  await at("the tab that was opened", tab(page, "Environment"));
  await press("Tab", "Tab", "Enter");
  await page.waitForURL(/environments\/production\/credentials/);
  await at("the chosen environment", page.getByRole("navigation", { name: "Environments" }).getByRole("link", { name: "Production" }));
  await press("Tab", "ArrowRight", "Enter");
  await region(page, "Secret rotation").waitFor();
  await at("the tab Security", tab(page, "Security"));
  await press("r");
  const dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await at("the hours", dialog.getByRole("spinbutton", { name: "Transition period" }));
  await type("48");
  check("the hours that were typed stand alone", (await dialog.getByRole("spinbutton", { name: "Transition period" }).inputValue()) === "48");
  await press("Tab", "Tab", "Tab");
  await at("the client's name", dialog.getByRole("textbox", { name: "Client name" }));
  await type("Billing");
  await press("Enter");
  const eye = button(region(page, "Credentials"), "Show secret");
  await at("the new secret", eye);
  await press("Enter");
  const value = await until(async () => (await region(page, "Credentials").locator("[data-shown]").first().textContent({ timeout: 500 }).catch(() => "")) || undefined, "the secret is shown");
  check("the new secret is shown and works", value !== registration.secret.value && (await server.use("production", registration.client_id, value)) === 200);
  await press("Tab", "Enter");
  await until(async () => (await page.evaluate(() => navigator.clipboard.readText())) === value, "the secret is in the clipboard");
  await press("Shift+Tab", "Shift+Tab", "Shift+Tab");
  await at("the way to the history", region(page, "Credentials").getByRole("link", { name: "Secret rotation history" }));
  await press("Enter");
  const history = page.getByRole("table", { name: "Secret rotation history" });
  await history.waitFor();
  await press("Tab", "Tab", "Tab");
  await at("the old secret in the history", button(history.getByRole("row").nth(1), "Show secret"));
  await press("Enter");
  await until(async () => (await history.getByRole("row").nth(1).textContent()).includes(registration.secret.value), "the old secret is shown");
  check("the whole walk takes at most 40 keys", pressed.length <= 40, `${pressed.length}: ${pressed.join(" ")}`);
  console.log(`keyboard: ${pressed.length} keys`);
  await page.context().close();
}
