// Walks through the Console in a real Chromium as a person would, by role and accessible name.
//   node run.mjs --binary ../../target/debug/crossfade [--only WALK] [--pictures DIRECTORY]
import { readFileSync, readdirSync } from "node:fs";
import { args, browser, check, counts, held } from "./browser.mjs";
import { start } from "./server.mjs";

/** Each has an instance of its own. */
const WALKS = ["rotation", "viewer", "guard", "drill", "change_over", "attacks", "bad_input"];

for (const name of args.only ? [args.only] : WALKS) {
  const walk = await import(`./walks/${name}.mjs`);
  const server = await start(args.binary);
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
if (!args.only) shownAsSaid();
console.log(`console: ${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** Whether each check that docs/seed-walk.md names was made and held, and each Rust test that it names is there. */
function shownAsSaid() {
  const file = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
  const tests = "../../crates/crossfade/tests/it";
  const rust = readdirSync(new URL(tests, import.meta.url)).filter((name) => name.endsWith(".rs")).map((name) => file(`${tests}/${name}`)).join("\n");
  const rows = file("../../docs/seed-walk.md").split("\n").filter((line) => line.startsWith("| ")).slice(1);
  check("the table of the walk has its rows", rows.length >= 25, String(rows.length));
  for (const row of rows) {
    const proofs = [...row.split("|").at(-2).matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    check(`a row of the walk names what shows it: ${row}`, proofs.length > 0);
    for (const proof of proofs) check(`the walk is shown by: ${proof}`, held.has(proof) || rust.includes(`async fn ${proof}(`));
  }
}
