// `crossfade login` with a real browser: the code comes back through it, or is typed; also without a script.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { args, browser, button, check, confirmIfAsked, look, open, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

export default async function commandLine(server) {
  const home = mkdtempSync(join(tmpdir(), "crossfade-login-"));
  const [opened, opener] = [join(home, "opened"), join(home, "opener")];
  writeFileSync(opener, `#!/bin/sh\nprintf %s "$1" > ${opened}.part && mv ${opened}.part ${opened}\n`);
  chmodSync(opener, 0o755);
  const run = (more, env = {}) => {
    const child = spawn(args.binary, [...more], { env: { PATH: "/usr/bin:/bin", XDG_CONFIG_HOME: home, ...env } });
    const said = { out: "", err: "" };
    child.stdout.on("data", (chunk) => { said.out += chunk; });
    child.stderr.on("data", (chunk) => { said.err += chunk; });
    const ended = new Promise((resolve) => child.on("close", (status) => resolve({ status, ...said })));
    return { child, said, ended };
  };
  try {
    const context = await browser.newContext();
    const page = await open(server, context);
    const login = run(["login", "--url", server.url, "--expires-days", "14", "--scope", "client:read"], { BROWSER: opener });
    const address = await until(() => existsSync(opened) && readFileSync(opened, "utf8"), "the command opens the browser");
    // The code goes to a port of this machine.
    page.alsoAt = `http://127.0.0.1:${new URL(address).searchParams.get("port")}/`;
    await page.goto(address);
    await signIn(page);
    await page.getByRole("heading", { name: "Approve command line", level: 1 }).waitFor();
    await look(page, "command-line");
    const asked = [await page.getByLabel("Expires after").inputValue(), await page.getByRole("checkbox", { name: "client:read", exact: true }).isChecked()];
    check("the page is filled in as the command asks", asked.join() === "14,true", asked.join());
    await page.getByLabel("Name").fill("Ada's laptop");
    server.age();
    await button(page, "Approve").click();
    await confirmIfAsked(page);
    await page.getByText("The command line is signed in.").waitFor();
    const done = await login.ended;
    check("the browser brings the code to the command line", done.status === 0 && /The token Ada's laptop expires/.test(done.err), JSON.stringify(done));
    const me = JSON.parse((await run(["whoami", "--json"]).ended).out);
    check("the command line has the permissions that were approved", me.scope.join() === "client:read", JSON.stringify(me));

    rmSync(opened);
    const refused = run(["login", "--url", server.url, "--profile", "refused"], { BROWSER: opener });
    await page.goto(await until(() => existsSync(opened) && readFileSync(opened, "utf8"), "the command opens the browser again"));
    page.alsoAt = `http://127.0.0.1:${new URL(page.url()).searchParams.get("port")}/`;
    await page.getByRole("link", { name: "Cancel" }).click();
    await page.getByText("The command line was not approved.").waitFor();
    const cancelled = await refused.ended;
    check("a command that was not approved waits no longer", cancelled.status === 1 && /was not approved. Nothing was changed/.test(cancelled.err), JSON.stringify(cancelled));

    const typed = run(["login", "--url", server.url, "--profile", "typed", "--no-browser"]);
    const typedAt = await until(() => /^http.*$/m.exec(typed.said.err)?.[0], "the command prints the address");
    const still = await (await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() })).newPage();
    await still.goto(typedAt);
    await button(still, "Approve").click();
    await still.getByRole("heading", { name: "Command line approved", level: 1 }).waitFor();
    const code = await still.locator("#login-code").textContent();
    typed.child.stdin.end(`${code.toLowerCase()}\n`);
    const finished = await typed.ended;
    check("a code that the Console shows is typed", finished.status === 0 && /The profile typed is the current one/.test(finished.err), JSON.stringify(finished));

    const shown = run(["login", "--url", server.url, "--profile", "shown", "--no-browser"]);
    const again = await open(server, context);
    await again.goto(await until(() => /^http.*$/m.exec(shown.said.err)?.[0], "the command prints the address"));
    await button(again, "Approve").click();
    await again.getByText("The command line was approved.").waitFor();
    await look(again, "command-line-code");
    shown.child.stdin.end("2222-2222-2222\n");
    const wrong = await shown.ended;
    check("a wrong code signs nobody in", wrong.status === 3 && /Run crossfade login again/.test(wrong.err), JSON.stringify(wrong));
    const profiles = (await run(["profile", "list"]).ended).out;
    check("each server and name has a profile", /127\.0\.0\.1/.test(profiles) && /typed/.test(profiles) && !/shown/.test(profiles), profiles);
    const out = await run(["logout"]).ended;
    check("a sign-out ends the token and the profile", out.status === 0 && !existsSync(join(home, "crossfade/profiles/typed.json")), JSON.stringify(out));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
