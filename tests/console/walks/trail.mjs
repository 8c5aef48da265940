// The audit trail: its days are those of the reader, it names people and sessions, and each event opens to its details.
import { browser, button, check, look, open, signIn } from "../browser.mjs";

const rows = (page) => page.getByRole("table", { name: /^Events/ }).locator("tbody > tr:not(.more)");
const found = async (page) => {
  await page.getByRole("table", { name: /^Events/ }).or(page.getByRole("heading", { name: "No matching events" })).first().waitFor();
  return rows(page).count();
};

export default async function trail(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["staging"] });
  const { id } = await server.api("POST", "/users", { name: "Vera Novak", email: "vera@example.com" });
  await server.api("PATCH", `/users/${id}`, { name: "Vera Novak-Lee" });
  await server.api("POST", `/users/${id}/grants`, { role: "viewer" });

  // It is never the same day in both of these, and for most of a day it is another one than in UTC.
  for (const [timezoneId, zone] of [["Pacific/Kiritimati", "+14:00"], ["Pacific/Pago_Pago", "-11:00"]]) {
    const context = await browser.newContext({ timezoneId });
    const page = await open(server, context);
    await page.goto(`${server.url}/console/audit`);
    await signIn(page);
    const today = new Intl.DateTimeFormat("en-CA", { timeZone: timezoneId }).format(new Date());
    await page.getByText(`Days begin at midnight in your time zone, ${timezoneId}.`).waitFor();
    await page.getByLabel("From", { exact: true }).fill(today);
    await button(page, "Filter").click();
    await page.waitForURL(/since=/);
    const asked = new URL(page.url()).searchParams.get("since");
    check(`today begins at midnight in ${timezoneId}`, asked === `${today}T00:00:00${zone}`, asked);
    check(`what has just happened is found from today on in ${timezoneId}`, (await found(page)) > 0);
    check(`the field shows the day again in ${timezoneId}`, (await page.getByLabel("From", { exact: true }).inputValue()) === today);
    check(`the page says which time that is in ${timezoneId}`, (await page.getByText("Showing events from").textContent()).includes("UTC"));
    const address = await page.getByRole("link", { name: "Export JSON Lines" }).getAttribute("href");
    check(`the export has the same days in ${timezoneId}`, new URL(address, server.url).searchParams.get("since") === asked, address);
    if (zone === "+14:00") await look(page, "audit-days");
    await page.getByLabel("From", { exact: true }).fill("");
    await page.getByLabel("Before", { exact: true }).fill(today);
    await button(page, "Filter").click();
    await page.waitForURL(/until=/);
    check(`before today there is nothing in ${timezoneId}`, (await found(page)) === 0);
    await context.close();
  }

  // Names, and an event with everything that it holds.
  const context = await browser.newContext();
  const page = await open(server, context);
  await page.goto(`${server.url}/console/audit`);
  await signIn(page);
  const row = (title) => rows(page).filter({ has: page.locator("summary", { hasText: title }) }).first();
  await row("Account updated").waitFor();
  check("sign-ins are hidden at first", (await row("Signed in").count()) === 0);
  await page.getByRole("checkbox", { name: "Include sign-ins" }).check();
  await button(page, "Filter").click();
  await page.waitForURL(/sessions=true/);
  await row("Signed in").waitFor();
  check("sign-ins are shown when they are asked for, and the filter says so", await page.getByRole("checkbox", { name: "Include sign-ins" }).isChecked());
  await page.setViewportSize({ width: 1440, height: 900 });
  const tops = await page.locator("form.filters > :is(.field, .check, .row)").evaluateAll((all) => all.map((it) => Math.round(it.getBoundingClientRect().bottom)));
  check("the filters of the trail are on one line at 1440", new Set(tops).size === 1, tops.join());
  const about = (action) => row(action).locator("td[data-label=Target]").innerText();
  check("the trail names the person that an event is about", (await about("Role granted")).includes("Vera Novak-Lee"), await about("Role granted"));
  check("the trail names the token and its owner", /checks\s+API token of ada/i.test(await about("API token created")), await about("API token created"));
  check("the trail says whose session began", /Session of ada/i.test(await about("Signed in")), await about("Signed in"));
  const raw = await page.locator("td[data-label=Target]").allInnerTexts();
  check("no row of the trail has the bare ID of a person, token or session", raw.every((text) => !/\b(usr|tok|ses)_/.test(text)), raw.join());
  const summary = row("Account updated").locator("summary");
  const details = page.locator(`#${await summary.getAttribute("aria-controls")}`);
  check("the details of an event are closed at first", !(await details.isVisible()));
  await summary.focus();
  await page.keyboard.press("Enter");
  await details.waitFor();
  const text = await details.innerText();
  const event = (await server.api("GET", "/audit-events?action=user.updated")).items[0];
  const values = { code: "user.updated", time: event.at, actor: event.actor.id, object: event.target, credential: event.via.id, request: event.request_id, address: event.source_ip, number: String(event.seq), change: "Vera Novak → Vera Novak-Lee", absence: "None" };
  for (const [what, value] of Object.entries(values)) check(`the details of an event have its ${what}`, text.includes(value), `${value} in ${text}`);
  await look(page, "audit-details");
  await summary.focus();
  await page.keyboard.press("Enter");
  check("the details of an event close again", !(await details.isVisible()));
  await context.close();

  const plain = await browser.newContext({ javaScriptEnabled: false });
  const still = await open(server, plain);
  await still.goto(`${server.url}/console/audit?since=2020-01-01`);
  await signIn(still);
  check("without a script the page says that days are those of UTC", await still.getByText("Days begin at midnight UTC.").isVisible());
  await rows(still).locator("summary").first().click();
  check("without a script an event opens to its details", await still.locator(".more").first().isVisible());
  await look(still, "audit-plain", false);
  await plain.close();
}
