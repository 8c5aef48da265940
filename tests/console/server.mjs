// A server of its own for the checks: a throwaway instance with an Owner, and callers of its token endpoint.
import { execFile, spawn, spawnSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

export const EMAIL = "ada@example.com";
export const PASSWORD = "a lighthouse keeper's umbrella";

// Settings of whoever runs the checks are not those of the program.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CROSSFADE_")));

const freePort = () => new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

/** Makes a certificate for localhost that nobody has signed; gives the settings for it, and the hash of its key for a browser. */
function certificate(directory) {
  const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  const made = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  const spki = new X509Certificate(readFileSync(cert)).publicKey.export({ type: "spki", format: "der" });
  return { settings: { CROSSFADE_TLS_CERT_FILE: cert, CROSSFADE_TLS_KEY_FILE: key }, spki: createHash("sha256").update(spki).digest("base64") };
}

/** Whether a server with a certificate of its own is ready. */
const isReady = (url) => new Promise((resolve) => {
  request(`${url}/readyz`, { rejectUnauthorized: false }, (answer) => { answer.resume(); resolve(answer.statusCode === 200); }).on("error", () => resolve(false)).end();
});

/** Starts a server. With `host` it is reached by that name over plain http, as behind a declared proxy; with `https`, at
    https://localhost; `settings` are further ones. */
export async function start(binary, { host, https, settings: further } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "crossfade-console-"));
  const data = join(directory, "data");
  const port = await freePort();
  const local = (args, input) => {
    const done = spawnSync(binary, [...args, "--data-dir", data], { input, encoding: "utf8", env: environment });
    if (done.status !== 0) throw new Error(`${args[0]}: ${done.stderr}`);
    return done.stdout.trim();
  };
  local(["init", "--owner-email", EMAIL, "--password-stdin"], `${PASSWORD}\n`);
  const token = local(["token", "create", "--user", EMAIL, "--name", "checks"]);
  const direct = `http://127.0.0.1:${port}`;
  const own = https && certificate(directory);
  const url = https ? `https://localhost:${port}` : host ? `http://${host}:${port}` : direct;
  const settings = https ? { CROSSFADE_PUBLIC_URL: url, ...own.settings, ...further } : host ? { CROSSFADE_PUBLIC_URL: url, CROSSFADE_TRUSTED_PROXIES: "127.0.0.0/8", ...further } : { ...further };
  let server;
  let log = "";
  const serve = async () => {
    server = spawn(binary, ["serve", "--drain-seconds", "0", "--listen", `127.0.0.1:${port}`, "--data-dir", data], { env: { ...environment, ...settings }, stdio: ["ignore", "ignore", "pipe"] });
    server.stderr.on("data", (chunk) => { log += chunk; });
    await until(async () => https ? isReady(`https://127.0.0.1:${port}`) : (await fetch(`${direct}/readyz`).catch(() => undefined))?.ok, `the server is ready\n${log}`);
  };
  await serve();

  const api = async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(`${direct}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    const json = await answer.json().catch(() => undefined);
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(json)}`);
    return json;
  };
  /** Asks for a token; gives the status. */
  const use = async (environment, id, secret, agent = "billing-worker/2.1") => {
    const authorization = `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`;
    const body = new URLSearchParams({ grant_type: "client_credentials" });
    const answer = await fetch(`${direct}/env/${environment}/oauth2/token`, { method: "POST", headers: { authorization, "user-agent": agent }, body });
    return answer.status;
  };
  const sql = (statement) => {
    const script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=20); db.execute(sys.argv[2]); db.commit()";
    const done = spawnSync("python3", ["-c", script, join(data, "crossfade.db"), statement], { encoding: "utf8" });
    if (done.status !== 0) throw new Error(done.stderr);
  };
  /** Lets the last password be long ago, so that the next dangerous thing asks for it again. */
  const age = () => sql("UPDATE sessions SET authenticated_at = authenticated_at - 7200000000");
  /** Lets each rotation be a second earlier; the deadlines stay. */
  const earlier = () => sql("UPDATE rotations SET rotated_at = rotated_at - 1000000");
  /** Kills the server, so that what it had not written is lost, and starts it again. */
  const crash = async () => {
    const gone = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGKILL");
    await gone;
    await serve();
  };
  /** Runs a command of the program against the server; gives what it printed. */
  const cli = async (...args) => {
    const env = { ...environment, CROSSFADE_URL: direct, CROSSFADE_TOKEN: token };
    const done = await promisify(execFile)(binary, args, { env, timeout: 60000 });
    return done.stdout;
  };
  const stop = () => new Promise((resolve) => {
    server.once("exit", () => { rmSync(directory, { recursive: true, force: true }); resolve(); });
    server.kill("SIGTERM");
  });
  return { url, spki: own?.spki, token, api, use, age, earlier, crash, cli, stop, log: () => log };
}

/** Asks again and again, for at most 20 seconds. */
export async function until(what, name) {
  const end = Date.now() + 20000;
  while (Date.now() < end) {
    const found = await what();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`This did not come about: ${name}`);
}
