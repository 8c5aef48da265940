// Whether the HTML of every page is valid, by the Nu HTML Checker, which needs Java: as the server sends it, and as scripts
// have left it.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { check, documents } from "./browser.mjs";

const jar = join(dirname(createRequire(import.meta.url).resolve("vnu-jar/package.json")), "build/dist/vnu.jar");

export function validate() {
  const directory = mkdtempSync(join(tmpdir(), "crossfade-html-"));
  try {
    const names = [...documents.values()];
    const files = [...documents.keys()].map((html, at) => {
      const file = join(directory, `${at}.html`);
      writeFileSync(file, html);
      return file;
    });
    const done = spawnSync("java", ["-Xmx512m", "-jar", jar, "--format", "json", ...files], { encoding: "utf8", maxBuffer: 2 ** 28 });
    const report = done.error ? undefined : JSON.parse(done.stderr);
    check("the HTML checker runs; it needs Java 11 or newer", report !== undefined, String(done.error));
    // One fault of a part is on many pages: each is told once, with a page that has it.
    const faults = new Map();
    for (const { url, message, extract, type } of report?.messages ?? []) {
      if (type === "info" || faults.has(message)) continue;
      faults.set(message, `${names[Number(/(\d+)\.html/.exec(url)?.[1])]}: ${extract?.replace(/\s+/g, " ")}`);
    }
    for (const [message, where] of faults) check(`valid HTML: ${message}`, false, where);
    check("every page is valid HTML", report !== undefined && faults.size === 0 && files.length > 0, `${files.length} pages`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
