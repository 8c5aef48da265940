// Reads every kind of mail in a browser, as the test `every_letter_is_written_for_a_browser` has written it:
//   node letters.mjs [--from ../../target/test/letters] [--only edge] [--to /tmp/letters]
// Each is read at 600 and 360 px, light and dark. With --to, pictures of these are kept, side by side.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import teams from "adaptivecards";
import { chromium } from "playwright-core";

const { values: args } = parseArgs({
  options: {
    from: { type: "string", default: new URL("../../target/test/letters", import.meta.url).pathname },
    to: { type: "string" },
    only: { type: "string", default: "" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
/** Fewer are a mistake: one of each kind, and each edge. */
const LEAST = args.only ? 1 : 90;
const VIEWS = [[600, "light"], [600, "dark"], [360, "light"], [360, "dark"]];
const letters = readdirSync(args.from).filter((name) => name.endsWith(".html") && name.includes(args.only)).sort();
const counts = { passed: 0, failed: 0 };
if (args.to) mkdirSync(args.to, { recursive: true });

function check(what, troubles) {
  counts[troubles.length ? "failed" : "passed"] += 1;
  if (troubles.length) console.log(`FAILED ${what}: ${troubles.slice(0, 5).join("; ")}`);
}

/** In the page: what a reader would stumble over. */
function troubles() {
  const found = [];
  const root = document.documentElement;
  const over = root.scrollWidth - root.clientWidth;
  if (over > 0) found.push(`sticks out by ${over} px`);
  const shown = (element) => element.getClientRects().length > 0 && element.innerText.trim() !== "";
  for (const [selector, least] of [["h1", 1], ["td", 4], [".next, .urgent", 1], [".button", 1], [".quiet", 3]]) {
    const elements = [...document.querySelectorAll(selector)];
    if (elements.length < least) found.push(`${elements.length} of ${selector}`);
    for (const element of elements) if (!shown(element)) found.push(`empty: ${element.outerHTML.slice(0, 80)}`);
  }
  const buttons = document.querySelectorAll("a.button");
  if (buttons.length !== 1 || !buttons[0].href.startsWith("https://auth.example.com/console")) found.push("not one button to the Console");
  for (const button of buttons) if (button.getBoundingClientRect().height < 40) found.push("the button is low");
  if (document.querySelector("img, script, link, iframe, form")) found.push("it loads or runs something");
  const channels = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = (text) => {
    const [r, g, b] = channels(text).map((it) => it / 255).map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !shown(element)) continue;
    let ground = element;
    while (ground && channels(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
    const pair = [getComputedStyle(element).color, getComputedStyle(ground ?? document.body).backgroundColor].map(luminance);
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(1)} of "${text.slice(0, 30)}"`);
    if (Number.parseFloat(getComputedStyle(element).fontSize) < 13) found.push(`small: "${text.slice(0, 30)}"`);
  }
  return found;
}

/** What Microsoft's library for Adaptive Cards does not accept in the body of a delivery to Teams, or leaves out. */
function cardTroubles(body) {
  const [{ contentType, content }, ...others] = body.attachments;
  if (body.type !== "message" || others.length || contentType !== "application/vnd.microsoft.card.adaptive") return ["not one card"];
  const context = new teams.SerializationContext(teams.Versions.v1_4);
  const card = new teams.AdaptiveCard();
  card.parse(content, context);
  const found = Array.from({ length: context.eventCount }, (_, number) => context.getEventAt(number).message);
  found.push(...card.validateProperties().validationEvents.map((event) => event.message));
  // In one order, without defaults, and with names of values in lower case, as the library has them.
  const plain = (value) => {
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== "object") return value;
    const named = (key, it) => (["size", "weight", "color"].includes(key) ? it.toLowerCase() : plain(it));
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, named(key, value[key])]).filter(([, it]) => it !== "default"));
  };
  const [sent, read] = [content, card.toJSON(context)].map((it) => JSON.stringify(plain(it)));
  return sent === read ? found : [...found, `read as ${read.slice(0, 300)}`];
}

const browser = await chromium.launch({ executablePath: args.chromium, args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  const asked = [];
  page.on("request", (request) => request.url().startsWith("file:") || asked.push(request.url()));
  check("there is a letter of each kind", letters.length < LEAST ? [`${letters.length} letters`] : []);
  for (const name of letters) {
    const pictures = [];
    await page.goto(`file://${args.from}/${name}`);
    for (const [width, colorScheme] of VIEWS) {
      await page.setViewportSize({ width, height: 800 });
      await page.emulateMedia({ colorScheme });
      check(`${name} at ${width} px, ${colorScheme}`, await page.evaluate(troubles));
      if (args.to) pictures.push(`<img src="data:image/png;base64,${(await page.screenshot({ fullPage: true })).toString("base64")}" width="${width}">`);
    }
    const text = readFileSync(`${args.from}/${name.replace(".html", ".txt")}`, "utf8");
    const lines = text.split("\n").filter((line) => [...line].length > 80 && line.trim().split(" ").length > 2);
    const url = await page.evaluate(() => document.querySelector("a.button")?.getAttribute("href"));
    check(`${name} as text`, [...lines, ...(text.includes(url) ? [] : [`no ${url}`]), ...(/<[a-z/]+>|&amp;/.test(text) && !/[<&]/.test(await page.innerText("body")) ? ["markup"] : [])]);
    // Messages to a person go to no webhook.
    if (!name.startsWith("own-")) check(`${name} as a card of Teams`, cardTroubles(JSON.parse(readFileSync(`${args.from}/${name.replace(".html", ".teams.json")}`, "utf8"))));
    if (args.to) {
      writeFileSync(`${args.to}/${name}`, `<body style="margin:0;display:flex;gap:12px;align-items:flex-start;background:#888">${pictures.join("")}`);
      await page.setViewportSize({ width: 1980, height: 800 });
      await page.goto(`file://${args.to}/${name}`);
      await page.screenshot({ path: `${args.to}/${name.replace(".html", ".png")}`, fullPage: true });
    }
  }
  check("no letter loads anything", asked);
} finally {
  await browser.close();
}
console.log(`letters: ${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
