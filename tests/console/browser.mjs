// The browser of the checks, and what every walk does in it.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { EMAIL, PASSWORD, until } from "./server.mjs";

export const { values: args } = parseArgs({
  options: { binary: { type: "string" }, only: { type: "string" }, pictures: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
if (args.pictures) mkdirSync(args.pictures, { recursive: true });

export const counts = { passed: 0, failed: 0 };
/** The names of the checks that held. */
export const held = new Set();
export function check(name, holds, more = "") {
  if (holds) held.add(name);
  if (holds) counts.passed += 1;
  else { counts.failed += 1; console.log(`FAILED ${name} ${more}`); }
}

/** A name that is no loopback for a browser, as a server in an internal network has one. */
export const INTERNAL = "crossfade.test";

export const browser = await chromium.launch({
  executablePath: args.chromium,
  args: [`--host-resolver-rules=MAP ${INTERNAL} 127.0.0.1`, "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// 768 stands for 1440 at 200 %, 320 for 1280 at 400 %: WCAG 2.2, 1.4.4 and 1.4.10.
const VIEWS = [[1440, "light"], [1440, "dark"], [768, "light"], [768, "dark"], [360, "light"], [360, "dark"], [320, "light"]];

/** The rules of axe that read colours. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"];

/** Every page that was served, and every one as scripts have left it: the HTML with where it was seen. */
export const documents = new Map();

/** A page that writes down what must not happen. `expected` are answers that a step provokes, `alsoAt` another address that it may go to. */
export async function open(server, context) {
  const page = await context.newPage();
  page.expected = new Set();
  page.on("console", (message) => {
    const provoked = message.text().startsWith("Failed to load resource") && page.expected.has(Number(/status of (\d+)/.exec(message.text())?.[1]));
    if (message.type() === "error" && !provoked) check("no error in the browser's console", false, message.text());
  });
  page.on("response", async (response) => {
    const isPage = response.request().isNavigationRequest() && /^text\/html/.test(response.headers()["content-type"] ?? "");
    const html = isPage && await response.text().catch(() => undefined);
    if (html) documents.set(html, `${response.status()} ${response.request().method()} ${new URL(response.url()).pathname}`);
  });
  page.on("pageerror", (error) => check("no uncaught error", false, error.message));
  page.on("request", (request) => {
    const isAllowed = page.alsoAt && request.url().startsWith(page.alsoAt);
    if (!isAllowed && !request.url().startsWith(server.url) && !/^(data|about):/.test(request.url())) check("no request to another host", false, request.url());
  });
  return page;
}

/** Looks at the page in every width and theme: nothing sticks out, and axe, which needs scripts, finds nothing. */
export async function look(page, name, scripts = true) {
  documents.set(await page.content(), name);
  // Past the policy of the page, which allows no script without a nonce.
  if (scripts && !await page.evaluate(() => "axe" in globalThis)) await page.evaluate(axe);
  for (const [width, colorScheme] of VIEWS) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // The themes differ in colours alone, and each width is looked at in the light.
    const only = colorScheme === "dark" ? { runOnly: OF_COLOURS } : {};
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(`${name} at ${width} ${colorScheme} does not scroll sideways`, wider <= 0, `${wider} px`);
    const violations = scripts && await page.evaluate(async (only) => {
      // Nothing has to be loaded beside the page: no rule that runs asks for it.
      const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"], preload: false, ...only });
      return violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(", ")}`);
    }, only).catch((error) => [`axe did not run: ${error.message}`]);
    if (scripts) check(`${name} at ${width} ${colorScheme}: axe`, violations.length === 0, violations.join(" | "));
    if (args.pictures) await page.screenshot({ path: `${args.pictures}/${name}-${width}-${colorScheme}.png`, fullPage: !name.includes("dialog") });
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
}

export const region = (page, name) => page.getByRole("region", { name, exact: true });
export const tab = (page, name) => page.getByRole("tab", { name, exact: true });
export const button = (scope, name) => scope.getByRole("button", { name, exact: true });

export async function confirmIfAsked(page) {
  const dialog = page.getByRole("dialog", { name: "Confirm it is you" });
  await dialog.waitFor();
  await dialog.getByLabel("Password").fill(PASSWORD);
  await button(dialog, "Continue").click();
  await dialog.waitFor({ state: "hidden" });
}

/** Signs in on the page that asks for it. */
export async function signIn(page, email = EMAIL, password = PASSWORD) {
  await page.getByRole("textbox", { name: "Email" }).fill(email);
  await page.getByRole("textbox", { name: "Password" }).fill(password);
  await button(page, "Sign in").click();
}

/** Opens the dialog and fills it in. */
export async function fillRotation(page, name, hours) {
  await button(region(page, "Secret rotation"), "Rotate").click();
  const dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await dialog.waitFor();
  await dialog.getByRole("spinbutton", { name: "Transition period" }).fill(String(hours));
  await dialog.getByRole("textbox", { name: "Client name" }).fill(name);
  return dialog;
}

export const revealed = async (page, scope) => {
  await button(scope, "Show secret").first().click();
  return until(async () => (await scope.locator("[data-shown]").first().textContent({ timeout: 500 }).catch(() => "")) || undefined, "the secret is shown");
};
