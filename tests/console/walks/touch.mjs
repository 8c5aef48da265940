// Fingers on a phone: everything that is pressed measures 44 px each way (WCAG 2.5.5), and no field makes iOS zoom.
import { browser, button, check, open, signIn } from "../browser.mjs";

/** What is too small on this page. Links in running text are excepted, as in WCAG 2.5.8. */
function tooSmall() {
  const found = [];
  for (const node of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    const target = /^(checkbox|radio)$/.test(node.type) ? node.closest("label") ?? node : node;
    if (!node.checkVisibility({ visibilityProperty: true }) || target.closest("[inert]") || node.matches(".skip")) continue;
    const box = target.getBoundingClientRect();
    if (box.width <= 1 || box.height <= 1) continue;
    const around = node.parentElement.closest("p, li, dd, td, label, figcaption");
    const isInText = node.matches("a") && getComputedStyle(node).display === "inline" && around && around.textContent.trim() !== node.textContent.trim();
    if (!isInText && (box.width < 43.5 || box.height < 43.5)) found.push(`${node.outerHTML.slice(0, 90)} ${Math.round(box.width)}x${Math.round(box.height)}`);
    if (node.matches("input:not([type=checkbox], [type=radio]), select, textarea") && parseFloat(getComputedStyle(node).fontSize) < 16) found.push(`font of ${node.outerHTML.slice(0, 90)}`);
  }
  return found;
}

export default async function touch(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["development", "production"] });
  const path = `/clients/${client.id}/environments/production`;
  await server.api("POST", `${path}/secrets/rotate`, { transition_hours: 24, confirm_client_name: "Billing" });
  const user = await server.api("POST", "/users", { email: "bob@example.com", name: "Bob" });
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, reducedMotion: "reduce" });
  const page = await open(server, context);
  await page.goto(`${server.url}/console`);
  check("the phone of the walk has a coarse pointer", await page.evaluate(() => matchMedia("(pointer: coarse)").matches));
  const measured = async (name) => {
    const small = await page.evaluate(tooSmall);
    check(`on a phone everything on ${name} is large enough for a finger`, small.length === 0, small.join(" | "));
  };
  await measured("the page to sign in");
  await signIn(page);
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  for (const address of ["", "/clients", "/clients/new", `/clients/${client.id}`, `/clients/${client.id}/settings`, `${path}/credentials`, `${path}/security`, `${path}/settings`,
    "/properties", `/properties/${property.id}`, `/properties/${property.id}/limits/production`, "/environments", "/environments/production", "/audit", "/people", `/people/${user.id}`, "/account"]) {
    await page.goto(`${server.url}/console${address}`);
    await page.evaluate(() => customElements.whenDefined("local-days"));
    await measured(address || "/");
    for (const id of await page.evaluate(() => [...document.querySelectorAll("dialog[id]")].map((dialog) => dialog.id))) {
      await page.evaluate((id) => document.getElementById(id).showModal(), id);
      await measured(`the dialog ${id.replace(/_.*/, "")} of ${address}`);
      await page.evaluate((id) => document.getElementById(id).close(), id);
    }
  }
  await page.goto(`${server.url}/console`);
  await button(page, "Menu").tap();
  const close = button(page, "Close menu");
  await close.waitFor();
  await measured("the menu");
  await close.tap();
  await close.waitFor({ state: "hidden" });
  check("the menu of a phone has a button that closes it", true);
}
