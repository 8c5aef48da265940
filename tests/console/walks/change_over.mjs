// Who still uses the old secret, with no caller, three, and three thousand, some of them hostile.
import { request } from "node:http";
import { browser, check, look, open, region, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

/** A token as a program at `address` fetches it. The answer's status. */
const fetchFrom = (server, address, agent, instance, id, secret) => new Promise((resolve, reject) => {
  const { hostname, port } = new URL(server.url);
  const headers = {
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`,
    "content-type": "application/x-www-form-urlencoded",
    "user-agent": agent,
    ...(instance && { "crossfade-instance": instance }),
  };
  const asked = request({ hostname, port, localAddress: address, method: "POST", path: "/env/production/oauth2/token", headers, agent: false }, (answer) => {
    answer.resume();
    answer.on("end", () => resolve(answer.statusCode));
  });
  asked.on("error", reject);
  asked.end("grant_type=client_credentials");
});

async function rotated(server, property, name) {
  const client = await server.api("POST", "/clients", { name, property_id: property.id, environments: ["production"] });
  const [{ client_id: id, secret: { value: old } }] = client.registrations;
  const reply = await server.api("POST", `/clients/${client.id}/environments/production/secrets/rotate`, { transition_hours: 24, confirm_client_name: name });
  return { id, old, fresh: reply.secret.value, path: `${server.url}/console/clients/${client.id}/environments/production/security` };
}

export default async function changeOver(server) {
  const property = await server.api("POST", "/properties", { name: "Payments" });
  const page = await open(server, await browser.newContext());
  const change = page.getByRole("group", { name: "Change-over" });
  const callers = page.getByRole("table", { name: "Callers" });

  const none = await rotated(server, property, "Nobody calls");
  await page.goto(none.path);
  await signIn(page);
  await region(page, "Secret rotation").waitFor();
  check("without a caller it says that nothing has been used", /not started/.test(await change.textContent()), await change.textContent());
  await page.getByRole("heading", { name: "No use recorded" }).waitFor();
  await look(page, "change-over-none");

  // Three, each with an address of its own; what they say of themselves is hostile.
  const three = await rotated(server, property, "Three callers");
  const hostile = ["\"><script>document.title='taken'</script>", "x".repeat(8192), "'; DROP TABLE secrets; --"];
  for (const [number, agent] of hostile.entries()) {
    const label = ["<b>pod</b>", "&amp;\"'`{{7*7}}", "l".repeat(500)][number];
    check(`a hostile caller gets its token (${number})`, (await fetchFrom(server, `127.0.2.${number + 1}`, agent, label, three.id, three.old)) === 200);
  }
  await page.goto(three.path);
  await until(async () => (await callers.getByRole("row").count()) === 4, "three callers stand in the table");
  check("three callers are left on the old secret", /3 callers/.test(await region(page, "Secret rotation").textContent()));
  check("what they say of themselves is text", (await callers.textContent()).includes("<script>") && (await callers.textContent()).includes("{{7*7}}") && (await page.title()) !== "taken" && (await callers.locator("b, script").count()) === 0);
  check("each has its address", (await callers.textContent()).includes("127.0.2.1") && (await callers.textContent()).includes("127.0.2.3"));
  await look(page, "change-over-three");
  // A table in closed details has the place that it had when it was last drawn.
  await page.getByText("Usage data", { exact: true }).click();
  for (const width of [1280, 1024]) {
    await page.setViewportSize({ width, height: 900 });
    const beyond = await page.evaluate(() => [...document.querySelectorAll(".card table")].filter((table) => table.checkVisibility() && table.getBoundingClientRect().right > table.closest(".card").getBoundingClientRect().right + 1).length);
    check(`every table stays in its card at ${width}`, beyond === 0, String(beyond));
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await fetchFrom(server, "127.0.2.1", hostile[0], "<b>pod</b>", three.id, three.fresh);
  await until(async () => /2 callers still use/.test(await region(page, "Secret rotation").textContent()), "the one that moved is not counted any more");
  check("who moves is seen as it happens", true);
  server.earlier();
  await server.crash();
  await page.goto(three.path);
  await region(page, "Use of both secrets").getByText("Not recorded", { exact: true }).waitFor();
  check("what a killed server lost is drawn as a gap, and told", (await region(page, "Use of both secrets").locator("svg .cf-gap").count()) >= 1 && /No use was recorded from/.test(await change.textContent()) && /Recording was interrupted/.test(await region(page, "Use of both secrets").getByRole("img").first().getAttribute("aria-label")));
  await look(page, "change-over-gap");

  // The callers of an older secret, while a newer transition runs.
  const older = await rotated(server, property, "Older secret");
  const rotate = new URL(older.path).pathname.replace("/console/", "/").replace("/security", "/secrets/rotate");
  await server.api("POST", rotate, { transition_hours: 24, confirm_client_name: "Older secret", end_running_transition: true });
  for (const [number, agent] of hostile.entries()) {
    check(`a caller with the secret of two rotations ago is refused (${number})`, (await fetchFrom(server, `127.0.3.${number + 1}`, agent, "pod", older.id, older.old)) === 401);
  }
  await page.goto(older.path);
  const refused = page.getByRole("table", { name: "Callers refused with an earlier secret" });
  await until(async () => { await page.reload(); return (await refused.count()) === 1 && (await refused.getByRole("row").count()) === 4; }, "the refused callers are listed");
  check("callers of an older secret are listed during a newer transition", (await refused.textContent()).includes("127.0.3.3"));
  check("what they say of themselves is text, too", (await refused.textContent()).includes("<script>") && (await refused.locator("b, script").count()) === 0);
  await look(page, "change-over-older");

  // Three thousand.
  const many = await rotated(server, property, "Three thousand callers");
  for (let from = 0; from < 3000; from += 100) {
    const batch = Array.from({ length: 100 }, (_, at) => from + at);
    const answers = await Promise.all(batch.map((n) => fetchFrom(server, `127.1.${1 + Math.floor(n / 200)}.${1 + (n % 200)}`, `worker/${n % 3}`, `pod-${n}`, many.id, n < 2990 ? many.fresh : many.old)));
    check(`callers ${from} to ${from + 99} get their tokens`, answers.every((status) => status === 200), answers.join());
  }
  await until(async () => {
    await page.goto(many.path);
    return /10 callers (are left on|still use)/.test(await change.textContent());
  }, "ten of three thousand are left");
  check("ten of three thousand callers are left, and it says so", true);
  const told = await server.cli("secret", "change-over", "Three thousand callers", "--env", "production");
  check("the command line tells the same of three thousand callers", /10 callers still use/.test(told) && told.split("\n").length < 220, told);
  // In a moment on this machine, whatever else it does: compared with a page that has a handful of rows.
  const taken = async (path, shown) => {
    const begun = Date.now();
    await page.goto(path);
    await shown.waitFor();
    return Date.now() - begun;
  };
  const usual = await taken(`${server.url}/console/clients`, page.getByRole("table"));
  const took = await taken(many.path, region(page, "Callers"));
  check("the page with three thousand callers is there in a moment", took < 3000 + 10 * usual, `${took} ms, another page ${usual} ms`);
  const rows = await callers.getByRole("row").allTextContents();
  check("those that are left stand first", rows.slice(1, 11).every((row) => row.includes("On the old secret")), rows.slice(1, 12).join(" | "));
  check("the page shows some, and says how to see all", rows.length === 51 && /And 2950 more/.test(await region(page, "Callers").textContent()), `${rows.length} rows`);
  await look(page, "change-over-many");

  // The Overview and the list are drawn again by themselves.
  await page.goto(`${server.url}/console`);
  await region(page, "Running transitions").waitFor();
  await rotated(server, property, "Seen on the Overview");
  await region(page, "Running transitions").getByRole("link", { name: "Seen on the Overview" }).waitFor();
  check("a rotation shows on the Overview without a reload", true);
  await page.goto(`${server.url}/console/clients?q=seen`);
  await page.getByRole("table").waitFor();
  await rotated(server, property, "Seen in the list");
  await page.getByRole("rowheader", { name: "Seen in the list" }).waitFor();
  check("a rotation shows in the list without a reload", (await page.getByRole("rowheader", { name: "Nobody calls" }).count()) === 0);
}
