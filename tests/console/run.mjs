// Walks through the Console in a real Chromium as a person would, by role and accessible name.
//   node run.mjs --binary ../../target/debug/crossfade [--only WALK] [--pictures DIRECTORY]
import { args, browser, check, counts } from "./browser.mjs";
import { start } from "./server.mjs";

/** Each has an instance of its own. */
const WALKS = ["rotation", "viewer", "guard", "drill", "change_over"];

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
console.log(`console: ${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
