// Takes the pictures of the README from the demo.
//   node pictures.mjs --binary ../../target/release/crossfade [--to ../../docs/pictures]
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { until } from "./server.mjs";

const { values: args } = parseArgs({
  options: {
    binary: { type: "string" },
    to: { type: "string", default: new URL("../../docs/pictures", import.meta.url).pathname },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
mkdirSync(args.to, { recursive: true });
const demo = spawn(args.binary, ["demo", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
let said = "";
demo.stdout.on("data", (chunk) => { said += chunk; });
const browser = await chromium.launch({ executablePath: args.chromium, args: ["--no-sandbox"] });
try {
  for (let waited = 0; !said.includes("secret rotate \""); waited += 1) {
    if (waited > 120 || demo.exitCode !== null) throw new Error(`The demo does not begin to serve:\n${said}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  const url = /serving (http:\S+)/.exec(said)[1];
  const password = /Password for all\s+(\S+)/.exec(said)[1];
  const page = await (await browser.newContext({ timezoneId: "Europe/Berlin" })).newPage();
  await page.goto(`${url}/console`);
  await page.getByRole("textbox", { name: "Email" }).fill("ada@example.com");
  await page.getByRole("textbox", { name: "Password" }).fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  const take = async (name, width, height, colorScheme) => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.screenshot({ path: `${args.to}/${name}.png` });
  };
  await take("overview", 1280, 860, "light");
  const open = async (name, tab) => {
    await page.goto(`${url}/console/clients?q=${encodeURIComponent(name)}`);
    await page.getByRole("rowheader", { name }).getByRole("link").click();
    const here = new URL(page.url()).pathname;
    await page.goto(`${url}${here}/environments/production/${tab}`);
  };
  await open("Fraud scoring", "security");
  await page.getByRole("group", { name: "Change-over" }).waitFor();
  await take("change-over", 1280, 860, "light");
  await take("change-over-dark", 1280, 860, "dark");
  await open("Session service", "security");
  await page.getByRole("button", { name: "Rotate", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Rotate client secret" });
  await dialog.getByRole("textbox", { name: "Client name" }).fill("Session service");
  await until(async () => /ends/.test(await dialog.locator("deadline-preview").textContent()), "the dialog says when the old secret ends");
  await take("rotate", 1280, 860, "light");
} finally {
  await browser.close();
  demo.kill("SIGINT");
}
