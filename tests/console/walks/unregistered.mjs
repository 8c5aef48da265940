// Clients that pass without being registered: the list, and the way to the form that registers one.
import { createServer } from "node:http";
import { browser, check, look, open, region, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

export const options = { settings: { CROSSFADE_OUTBOUND_PRIVATE_NETWORKS: "127.0.0.0/8" } };

/** An issuer that gives a token to whoever has its secret. */
async function issuer() {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => { body += chunk; });
    request.on("end", () => {
      const basic = Buffer.from((request.headers.authorization ?? "").replace("Basic ", ""), "base64").toString();
      const isRight = basic.endsWith(":right") || /client_secret=right|code=right/.test(body);
      response.writeHead(isRight ? 200 : 401, { "content-type": "application/json" });
      response.end(JSON.stringify(isRight ? { access_token: "t", token_type: "Bearer", expires_in: 60 } : { error: "invalid_client" }));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

export default async function walk(server) {
  const upstream = await issuer();
  try {
    await walkBefore(server, upstream.url);
  } finally {
    upstream.stop();
  }
}

async function walkBefore(server, issuerUrl) {
  const servers = [{ name: "main", issuer: issuerUrl, token_endpoint: `${issuerUrl}/token` }];
  const front = { issuer_mode: "upstream", upstream: { kind: "generic", servers }, unregistered_clients: "pass", confirm_environment_slug: "staging" };
  await server.api("PATCH", "/environments/staging", front);
  await server.api("POST", "/properties", { name: "Partners" });
  const form = async (fields) => (await fetch(`${server.url}/env/staging/oauth2/token`, { method: "POST", body: new URLSearchParams(fields) })).status;

  const page = await open(server, await browser.newContext());
  await page.goto(`${server.url}/console`);
  await signIn(page);
  await page.goto(`${server.url}/console/environments/staging`);
  await page.getByRole("link", { name: "Unregistered clients" }).click();
  await page.getByRole("heading", { name: "Unregistered clients", level: 1 }).waitFor();
  const card = region(page, "Not taken over yet");
  check("no unregistered client is listed at first", await card.getByText("No unregistered client has got a token.").isVisible());
  await look(page, "unregistered-none");

  const odd = "<b>&\"'+%2F long " + "x".repeat(120);
  check("a client passes", (await server.use("staging", "portal", "right")) === 200);
  check("a client passes with its secret in the form", (await form({ grant_type: "client_credentials", client_id: "portal", client_secret: "right" })) === 200);
  check("a client with an odd name passes", (await form({ grant_type: "client_credentials", client_id: odd, client_secret: "right" })) === 200);
  check("a public client passes", (await form({ grant_type: "authorization_code", client_id: "spa", code: "right" })) === 200);
  check("a wrong secret is refused by the issuer", (await server.use("staging", "portal", "wrong")) === 401);
  check("a made-up name is refused by the issuer", (await server.use("staging", "nobody", "wrong")) === 401);
  await until(async () => (await server.api("GET", "/environments/staging/unregistered-clients")).items.length === 4, "the clients are stored");

  await page.reload();
  const portal = card.getByRole("row", { name: /portal/ });
  check("a client is listed with how it authenticates", (await portal.textContent()).includes("Secret in the header") && (await portal.textContent()).includes("Secret in the form"));
  check("a client is listed with its address", (await portal.textContent()).includes("127.0.0.1"));
  check("no address of a public client is kept", (await card.getByRole("row", { name: /spa/ }).textContent()).includes("Not kept"));
  check("a public client cannot be registered", (await card.getByRole("link", { name: "Register spa" }).count()) === 0);
  check("an odd name is text", await card.getByText("<b>&").isVisible());
  check("a made-up name is a number alone", !(await card.textContent()).includes("nobody") && (await card.textContent()).includes("0 accepted, 1 refused, 0 failed"));
  await look(page, "unregistered");

  await card.getByRole("link", { name: `Register ${odd}` }).click();
  await page.getByRole("heading", { name: "Create client", level: 1 }).waitFor();
  check("the form has the client_id, byte for byte", (await page.getByRole("textbox", { name: "Client_id at the issuer" }).inputValue()) === odd);
  await page.goBack();
  await card.getByRole("link", { name: "Register portal" }).click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("Portal");
  check("the form has the environment", (await page.getByRole("checkbox", { name: "Staging" }).isChecked()) && !(await page.getByRole("checkbox", { name: "Development" }).isChecked()));
  await look(page, "unregistered-register");
  await page.getByRole("button", { name: "Create client" }).click();
  await page.getByRole("heading", { name: "Portal", level: 1 }).waitFor();
  await page.goto(`${server.url}/console/environments/staging/unregistered`);
  check("a registered client is not listed", (await card.getByRole("link", { name: /^Register/ }).count()) === 1 && !(await card.textContent()).includes("portal"));
  check("a registered client no longer passes", (await server.use("staging", "portal", "right")) === 401);
  const listed = await server.cli("upstream", "unregistered", "staging");
  check("the command lists the same", listed.includes("spa") && listed.includes("none") && !listed.includes("portal"));
}
