// Walks through the Console in a real Chromium as a person would, by role and accessible name.
//   node run.mjs --binary ../../target/debug/crossfade [--only WALK] [--pictures DIRECTORY]
import { readFileSync, readdirSync } from "node:fs";
import { args, browser, check, counts, held } from "./browser.mjs";
import { start } from "./server.mjs";
import { validate } from "./validity.mjs";

/** Each has an instance of its own. */
const WALKS = ["rotation", "first_sight", "keyboard", "sections", "plain", "viewer", "guard", "drill", "change_over", "attacks", "bad_input", "trail", "plain_http", "history", "touch", "keys", "networks", "leaks", "webhooks", "profile", "owners", "unregistered", "command_line", "single_sign_on", "provisioning", "factors", "passkeys", "access"];

for (const name of args.only ? [args.only] : WALKS) {
  const walk = await import(`./walks/${name}.mjs`);
  const server = await start(args.binary, walk.options);
  try {
    await walk.default(server);
  } catch (error) {
    check(`${name} to its end`, false, error.stack);
    if (args.pictures) for (const context of browser.contexts()) for (const page of context.pages()) await page.screenshot({ path: `${args.pictures}/failed-${name}.png` }).catch(() => {});
  }
  for (const context of browser.contexts()) await context.close();
  await server.stop();
}
await browser.close();
validate();
if (!args.only) {
  const files = readdirSync(new URL("walks", import.meta.url)).map((file) => file.replace(".mjs", ""));
  check("every walk is run", files.every((file) => WALKS.includes(file)), files.filter((file) => !WALKS.includes(file)).join());
  shownAsSaid();
}
console.log(`console: ${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** Whether each check that these documents name was made and held, and each Rust test that they name is there. */
function shownAsSaid() {
  const root = new URL("../../", import.meta.url);
  const sources = readdirSync(new URL("crates", root), { recursive: true }).filter((name) => name.endsWith(".rs"));
  const rust = sources.map((name) => readFileSync(new URL(`crates/${name}`, root), "utf8")).join("\n");
  for (const [document, least] of [["docs/seed-walk.md", 25], ["docs/concepts/console-security.md", 20], ["docs/concepts/rules.md", 21]]) {
    const rows = readFileSync(new URL(document, root), "utf8").split("\n").filter((line) => line.startsWith("| ")).slice(1);
    check(`${document} has its rows`, rows.length >= least, String(rows.length));
    for (const row of rows) {
      const proofs = [...row.split("|").at(-2).matchAll(/`([^`]+)`/g)].map(([, name]) => name);
      check(`a row of ${document} names what shows it: ${row}`, proofs.length > 0);
      for (const proof of proofs) check(`${document}: ${proof}`, held.has(proof) || rust.includes(`fn ${proof}(`));
    }
  }
  const rules = readFileSync(new URL("docs/concepts/rules.md", root), "utf8");
  for (const file of new Set([...rules.matchAll(/`(\w+\/src\/[^`]+)`/g)].map(([, name]) => name))) check(`a rule is decided in a file that exists: ${file}`, sources.includes(file));
  const named = new Set([...rust.matchAll(/\brules? (\d+(?:(?:, | and | to )\d+)*)/g)].flatMap(([, numbers]) => numbers.match(/\d+/g)));
  for (const number of named) check(`rule ${number}, which a comment names, is listed`, rules.includes(`\n| ${number} |`));
}
