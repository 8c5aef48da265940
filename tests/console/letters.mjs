// Takes pictures of every kind of mail, as the test `every_letter_is_written_for_a_browser` has written it:
//   node letters.mjs --to /tmp/letters [--from ../../target/test/letters] [--only edge]
// Each is shown at 600 and 360 px, light and dark, side by side, and nothing may stick out.
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: args } = parseArgs({
  options: {
    from: { type: "string", default: new URL("../../target/test/letters", import.meta.url).pathname },
    to: { type: "string" },
    only: { type: "string", default: "" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
mkdirSync(args.to, { recursive: true });
const letters = readdirSync(args.from).filter((name) => name.endsWith(".html") && name.includes(args.only)).sort();
const browser = await chromium.launch({ executablePath: args.chromium, args: ["--no-sandbox"] });
let wide = 0;
try {
  const sheets = new Map();
  for (const [width, colorScheme] of [[600, "light"], [600, "dark"], [360, "light"], [360, "dark"]]) {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
    const page = await context.newPage();
    for (const name of letters) {
      await page.goto(`file://${args.from}/${name}`);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (over > 0) {
        wide += 1;
        console.log(`${name} sticks out by ${over} px at ${width} px`);
      }
      const picture = (await page.screenshot({ fullPage: true })).toString("base64");
      sheets.set(name, [...(sheets.get(name) ?? []), `<img src="data:image/png;base64,${picture}" width="${width}">`]);
    }
    await context.close();
  }
  const page = await browser.newPage({ viewport: { width: 1980, height: 800 } });
  for (const [name, pictures] of sheets) {
    const sheet = `${args.to}/${name}`;
    writeFileSync(sheet, `<body style="margin:0;display:flex;gap:12px;align-items:flex-start;background:#888">${pictures.join("")}`);
    await page.goto(`file://${sheet}`);
    await page.screenshot({ path: sheet.replace(".html", ".png"), fullPage: true });
  }
} finally {
  await browser.close();
}
console.log(`${letters.length} letters, ${wide} stick out`);
process.exitCode = wide > 0 ? 1 : 0;
