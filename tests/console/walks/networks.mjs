// The form of allowed networks: callers that would be refused are shown, and only as many as were shown are locked out.
import { browser, button, check, look, open, region, signIn } from "../browser.mjs";

export default async function walk(server) {
  const property = await server.api("POST", "/properties", { name: "Networks" });
  const client = await server.api("POST", "/clients", { name: "Network API", property_id: property.id, environments: ["production"] });
  const { client_id, secret } = client.registrations[0];
  const use = (agent) => server.use("production", client_id, secret.value, agent);
  const stored = async () => (await server.api("GET", `/clients/${client.id}/environments/production`)).allowed_networks;
  check("the client may call from everywhere", (await use("worker/1")) === 200);

  const page = await open(server, await browser.newContext());
  page.expected.add(422).add(409);
  await page.goto(`${server.url}/console`);
  await signIn(page);
  await page.goto(`${server.url}/console/clients/${client.id}/environments/production/settings`);
  const settings = region(page, "OAuth settings");
  const networks = settings.getByRole("textbox", { name: "Allowed networks" });
  const save = () => button(settings, "Save").click();
  const callers = settings.getByRole("group", { name: "Callers that would be refused" });
  const lock = settings.getByRole("checkbox", { name: "Lock these callers out" });
  check("no networks at first", (await networks.inputValue()) === "");

  await networks.fill("10.1.2.3/8");
  await save();
  await settings.getByText("must contain 10.0.0.0/8").first().waitFor();
  check("a network is not corrected in silence", (await networks.inputValue()) === "10.1.2.3/8" && (await stored()) === null);

  await networks.fill("10.0.0.0/8 2001:db8::/32");
  await save();
  await callers.waitFor();
  check("the caller is shown", (await callers.textContent()).includes("127.0.0.1, worker/1, last use"));
  check("nothing is saved, and what was typed stays", (await stored()) === null && (await networks.inputValue()) === "10.0.0.0/8 2001:db8::/32");
  check("no callers are locked out by default", !(await lock.isChecked()));
  await look(page, "networks-locked-out");

  // A caller that was not shown is shown first.
  check("another caller comes", (await use("worker/2")) === 200);
  await lock.check();
  await save();
  await callers.getByText("worker/2").waitFor();
  check("both callers are shown, and nothing is saved", (await callers.textContent()).includes("worker/1") && (await stored()) === null);
  check("the box is for the callers that are shown", !(await lock.isChecked()));
  await lock.check();
  await save();
  await page.getByText("The settings were saved.").waitFor();
  check("the networks are saved", JSON.stringify(await stored()) === '["10.0.0.0/8","2001:db8::/32"]');
  check("the callers are refused", (await use("worker/1")) === 401);
  const trail = await server.api("GET", "/audit-events?action=registration.updated");
  check("the trail has their number", trail.items[0].details.locked_out_count === 2);
  check("the form shows what is stored", (await networks.inputValue()) === "10.0.0.0/8 2001:db8::/32");
  await look(page, "networks-set");

  // Without the message of the last change.
  await page.reload();
  await networks.fill("");
  await save();
  await page.getByText("The settings were saved.").waitFor();
  check("an empty field allows every address", (await stored()) === null && (await use("worker/1")) === 200);
}
