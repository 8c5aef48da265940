// What others try in the browser of somebody who is signed in, and where a secret must not stay.
import { createServer } from "node:http";
import { browser, button, check, look, open, region, revealed, signIn, tab } from "../browser.mjs";

const NAMES = [
  `"><script>document.title='taken'</script>`,
  `O'Brien & "Söhne" <b>GmbH</b>`,
  "خدمة الفوترة",
  "שירות חיוב",
  "Billing 🧾🚀",
  "{{7*7}} ${7*7} %s %n",
  "x".repeat(200),
];

export default async function attacks(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const create = (name) => server.api("POST", "/clients", { name, property_id: property.id, environments: ["production"] });
  const client = await create("Billing");
  const context = await browser.newContext();
  await context.addInitScript(() => addEventListener("pageshow", (event) => { globalThis.restored = event.persisted; }));
  const page = await open(server, context);
  const home = `${server.url}/console/clients/${client.id}/environments/production`;
  await page.goto(`${home}/credentials`);
  await signIn(page);
  await region(page, "Credentials").waitFor();
  const rotations = async () => (await server.api("GET", `/clients/${client.id}/environments/production/rotations`)).items.length;

  // Pages of strangers: on another site, where the browser keeps the cookie back, and on the same host with another
  // port, which a cookie does not tell apart.
  const form = `<form id="f" method="post" action="${home}/rotate"><input name="transition_hours" value="0"><input name="confirm_client_name" value="Billing"></form>`;
  const evil = createServer((asked, answer) => {
    answer.setHeader("content-type", "text/html");
    if (asked.url === "/form") answer.end(`${form}<script>document.getElementById("f").submit()</script>`);
    else if (asked.url === "/fetch") answer.end(`<script>fetch("${home}/rotate", { method: "POST", mode: "no-cors", credentials: "include", headers: { "content-type": "application/x-www-form-urlencoded" }, body: "transition_hours=0&confirm_client_name=Billing" }).finally(() => { document.title = "sent"; })</script>`);
    else answer.end(`<title>framed</title><iframe src="${home}/credentials" width="800" height="600"></iframe>`);
  });
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  for (const host of ["localhost", "127.0.0.1"]) {
    const origin = `http://${host}:${evil.address().port}`;
    const stranger = await context.newPage();
    await stranger.goto(`${origin}/form`);
    await stranger.waitForURL((url) => url.href.startsWith(server.url));
    check(`a form on ${host} changes nothing`, (await rotations()) === 0);
    await stranger.goto(`${origin}/fetch`);
    await stranger.waitForFunction(() => document.title === "sent");
    check(`a script on ${host} changes nothing`, (await rotations()) === 0);
    await stranger.goto(`${origin}/frame`);
    await stranger.waitForTimeout(300);
    const frame = stranger.frames()[1];
    check(`a page on ${host} cannot frame the Console`, !frame || !(await frame.content().catch(() => "")).includes("Credentials"), frame?.url());
    await stranger.close();
  }
  evil.close();
  const [cookie] = await context.cookies(server.url);
  check("the session is no script's to read, and goes to no other site", cookie.httpOnly && cookie.sameSite === "Lax" && cookie.path === "/");
  const forged = (headers) => fetch(`${home}/rotate`, {
    method: "POST", redirect: "manual", body: new URLSearchParams({ transition_hours: "0", confirm_client_name: "Billing" }),
    headers: { cookie: `${cookie.name}=${cookie.value}`, ...headers },
  });
  for (const headers of [{ origin: "https://evil.example" }, { "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site", origin: server.url }, { origin: "null" }]) {
    const answer = await forged(headers);
    check(`a forged origin changes nothing: ${JSON.stringify(headers)}`, answer.status === 403 && (await rotations()) === 0, String(answer.status));
  }

  const own = await forged({ origin: server.url, "sec-fetch-site": "same-origin" });
  check("the same form from the Console's own origin does rotate", own.status === 303 && (await rotations()) === 1, String(own.status));

  // A secret that was shown stays nowhere. The rotation ended the one that this page still offers.
  await page.goto(`${home}/credentials`);
  const value = await revealed(page, region(page, "Credentials"));
  const kept = await page.evaluate(async () => {
    const databases = await indexedDB.databases();
    const rows = await Promise.all(databases.map(({ name }) => new Promise((resolve) => {
      const asked = indexedDB.open(name);
      asked.onsuccess = () => {
        const stores = [...asked.result.objectStoreNames];
        const all = stores.map((store) => new Promise((done) => { asked.result.transaction(store).objectStore(store).getAll().onsuccess = (event) => done(event.target.result); }));
        Promise.all(all).then(resolve);
      };
      asked.onerror = () => resolve("unreadable");
    })));
    const stored = await Promise.all((await caches.keys().catch(() => [])).map(async (name) => {
      const cache = await caches.open(name);
      return Promise.all((await cache.keys()).map(async (request) => [request.url, await (await cache.match(request)).text()]));
    }));
    return JSON.stringify([
      { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.title, history.state, databases, rows, stored,
      window.name, (await navigator.serviceWorker?.getRegistrations().catch(() => []) ?? []).length, performance.getEntries().map((it) => it.name),
    ]);
  });
  const inspector = await context.newCDPSession(page);
  const visited = JSON.stringify([await inspector.send("Page.getNavigationHistory"), await context.cookies(), await context.storageState()]);
  check("a shown secret stands in no cookie and no entry of the history", !visited.includes(value.slice(-20)), visited);
  check("a shown secret stands in no storage, address, title or log of requests", !kept.includes(value.slice(-20)), kept);
  await tab(page, "Security").click();
  await region(page, "Secret rotation").waitFor();
  await page.goBack();
  await region(page, "Credentials").waitFor();
  check("going back shows it hidden, from the server and not from a cache", !(await page.content()).includes(value) && (await page.evaluate(() => globalThis.restored)) === false);
  const source = await page.evaluate(async () => (await fetch(location.href)).text());
  check("the page's source does not hold it", !source.includes(value));
  const answer = await page.request.get(`${home}/credentials`);
  const headers = answer.headers();
  check("pages are not stored, framed or told to others", headers["cache-control"] === "no-store" && /frame-ancestors 'none'/.test(headers["content-security-policy"]) && !/unsafe/.test(headers["content-security-policy"]) && headers["x-content-type-options"] === "nosniff" && /no-referrer|same-origin/.test(headers["referrer-policy"]), JSON.stringify(headers));

  // Names are text wherever they stand.
  const named = [];
  for (const name of NAMES) named.push([name, await create(name)]);
  await page.goto(`${server.url}/console/clients`);
  await page.getByRole("table").waitFor();
  for (const [name] of named) check(`a name is text in the list: ${name.slice(0, 40)}`, await page.getByRole("rowheader", { name, exact: false }).first().isVisible());
  await look(page, "clients-naughty-names");
  for (const [name, it] of named) {
    await page.goto(`${server.url}/console/clients/${it.id}/environments/production/security`);
    await region(page, "Secret rotation").waitFor();
    check(`a name is text on its page: ${name.slice(0, 40)}`, (await page.getByRole("heading", { level: 1 }).textContent()).trim() === name && (await page.title()) !== "taken");
  }
  await page.goto(`${server.url}/console/clients/${named[0][1].id}/environments/production/security`);
  await button(region(page, "Secret rotation"), "Rotate").click();
  await look(page, "dialog-naughty-name");
  await button(page.getByRole("dialog"), "Cancel").click();
  await page.goto(`${server.url}/console/clients/${named[6][1].id}/environments/production/security`);
  await look(page, "client-long-name");

  // Signing out leaves nothing behind.
  await page.goto(`${home}/credentials`);
  const out = page.waitForResponse((it) => it.request().method() === "POST" && it.url().includes("sign-out"));
  await page.getByRole("button", { name: /ada/ }).click();
  await button(page, "Sign out").click();
  check("signing out has the browser forget everything", /"cache".*"storage"|\*/.test((await (await out).headerValue("clear-site-data")) ?? ""), await (await out).headerValue("clear-site-data"));
  await page.goBack().catch(() => {});
  await page.getByRole("textbox", { name: "Password" }).waitFor();
  check("going back after signing out shows nothing", !(await page.content()).includes("client_id"));
}
