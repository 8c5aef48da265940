// What a browser leaves on the disk of somebody who looks at secrets: history, caches, storage and what restores its tabs.
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { args, button, check, fillRotation, open, region, revealed, signIn, tab } from "../browser.mjs";
import { PASSWORD } from "../server.mjs";

/** Too little to be an accident, and found even where only the end of a value was kept. */
const PIECE = 20;

export default async function profile(server) {
  const property = await server.api("POST", "/properties", { name: "Shop" });
  const client = await server.api("POST", "/clients", { name: "Billing", property_id: property.id, environments: ["production"] });
  const directory = mkdtempSync(join(tmpdir(), "crossfade-profile-"));
  try {
    const secrets = await visit(server, client, directory);
    const files = readdirSync(directory, { recursive: true }).map((name) => join(directory, name)).filter((name) => statSync(name).isFile());
    const read = files.map((name) => [name.slice(directory.length), readFileSync(name)]);
    const holding = (text) => read.filter(([, data]) => data.includes(text) || data.includes(Buffer.from(text, "utf16le"))).map(([name]) => name);
    // What is there by right has to be found, or nothing would be proved.
    check("the profile of the browser knows the page of the client", holding(client.id).length > 0, `${files.length} files`);
    for (const [name, value] of Object.entries(secrets)) {
      const found = holding(value.slice(-PIECE));
      check(`the profile of the browser does not hold ${name}`, value.length > PIECE && found.length === 0, found.join(" "));
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Shows, rotates and copies, goes back and forth, and closes the browser without signing out. */
async function visit(server, client, directory) {
  const context = await chromium.launchPersistentContext(directory, { executablePath: args.chromium, args: ["--no-sandbox", "--disable-quic", "--no-first-run"] });
  try {
    const page = await open(server, context);
    await page.goto(`${server.url}/console/clients/${client.id}/environments/production/credentials`);
    await signIn(page);
    await region(page, "Credentials").waitFor();
    const first = await revealed(page, region(page, "Credentials"));
    await tab(page, "Security").click();
    await region(page, "Secret rotation").waitFor();
    const dialog = await fillRotation(page, "Billing", 24);
    await button(dialog, "Rotate secret").click();
    await dialog.waitFor({ state: "hidden" });
    await tab(page, "Credentials").click();
    await region(page, "Credentials").waitFor();
    const second = await revealed(page, region(page, "Credentials"));
    check("a rotation in a browser with a profile shows another secret", first !== second && second.length > PIECE);
    await page.goBack();
    await page.goForward();
    await page.reload();
    await region(page, "Credentials").waitFor();
    return { "the first secret": first, "the second secret": second, "the password": PASSWORD };
  } finally {
    await context.close();
  }
}
